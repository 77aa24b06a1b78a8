//! Preprocessing defenses against Pillow, ART, SciPy and a network under attack.

mod small;
mod victim;

use std::path::PathBuf;

use histoguard::classifier::{Average, Queries};
use histoguard::defense::{
    Backward, BitDepth, Chain, Custom, ImageDraws, Interpolation, Jpeg, JpegBackward, Levels, Median,
    MedianBackward, Preprocess, RandomResizePad, Subsampling, TotalVariation, attack_views,
};
use histoguard::prelude::*;
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde_json::Value;
use small::{Plain, bright, hits, linf};
use victim::{images, labels, right, values};

/// A tensor of `golden/defenses/FILE.safetensors`, `[1, channels, height, width]`; 8-bit levels over 255.
fn golden(file: &str, name: &str) -> Tensor<4> {
    let path = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "defenses", &format!("{file}.safetensors")];
    let bytes = std::fs::read(path.iter().collect::<PathBuf>()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let numbers: Vec<f32> = match view.dtype() {
        Dtype::F32 => {
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
        }
        Dtype::U8 => view.data().iter().map(|&level| f32::from(level) / 255.0).collect(),
        other => panic!("{name}: {other:?}"),
    };
    let shape: [usize; 3] = view.shape().try_into().unwrap();
    Tensor::<1>::from_floats(numbers.as_slice(), &Device::default())
        .reshape([1, shape[0], shape[1], shape[2]])
}

fn applied(preprocess: &impl Preprocess, images: Tensor<4>) -> Vec<f32> {
    values(preprocess.apply(images, &ImageDraws::default()))
}

#[test]
fn jpeg_equals_what_pillow_reads_back() {
    let sizes = ["3x37x43", "3x32x16", "3x9x4", "3x5x7", "1x21x30"];
    for size in sizes {
        let qualities: &[usize] =
            if size == "3x37x43" { &[10, 50, 75, 95] } else { &[1, 10, 50, 75, 95, 100] };
        for &quality in qualities {
            for (subsampling, name) in [(Subsampling::Full, "4:4:4"), (Subsampling::Halved, "4:2:0")] {
                // Of brightness alone there is one file, whatever the colour's subsampling.
                let file = if size.starts_with('1') { "4:2:0" } else { name };
                let expected = values(golden("jpeg", &format!("{size}.{quality}.{file}")));
                let jpeg = Jpeg::new(quality).with_subsampling(subsampling);
                let found = applied(&jpeg, golden("jpeg", size));
                let level = |value: &f32| (value * 255.0).round() as i32;
                let off = found.iter().zip(&expected).filter(|(a, b)| level(a) != level(b)).count();
                assert_eq!(off, 0, "{size} at {quality}, {name}: levels that differ, of {}", found.len());
                assert_eq!(found, expected);
            }
        }
    }
}

#[test]
#[should_panic(expected = "1 or 3 channels, found 2")]
fn jpeg_refuses_other_numbers_of_channels() {
    Jpeg::new(75).apply(Tensor::zeros([1, 2, 8, 8], &Device::default()), &ImageDraws::default());
}

#[test]
fn bit_depth_equals_art() {
    for name in ["levels", "fine"] {
        for bits in 1..=8 {
            let found = applied(&BitDepth::new(bits), golden("preprocess", &format!("squeeze.{name}")));
            assert_eq!(
                found,
                values(golden("preprocess", &format!("squeeze.{name}.{bits}"))),
                "{name} {bits}"
            );
        }
    }
}

#[test]
fn median_equals_scipy_and_art() {
    for name in ["levels", "fine"] {
        for window in [1, 2, 3, 4, 5, 24] {
            let median = Median::new().with_window(window);
            let found = applied(&median, golden("preprocess", &format!("squeeze.{name}")));
            let expected = values(golden("preprocess", &format!("median.{name}.{window}")));
            assert_eq!(found, expected, "{name} {window}");
        }
    }
}

/// Moving one value, by less than would change the order, moves exactly the medians that it is.
#[test]
fn the_selected_value_gets_the_gradient() {
    let image = golden("preprocess", "squeeze.fine");
    let weights = image.clone().flip([2, 3]);
    for window in [2, 3] {
        let median = Median::new().with_window(window).with_backward(MedianBackward::Selected);
        let weighed = |x: Tensor<4>| (median.forward(x, &ImageDraws::default()) * weights.clone()).sum();
        let tracked = image.clone().autodiff().require_grad();
        let gradient = values(tracked.grad(&weighed(tracked.clone()).backward()).unwrap());
        let (numbers, shape) = (values(image.clone()), image.shape());
        for at in (0..numbers.len()).step_by(7) {
            let mut moved = numbers.clone();
            moved[at] += 1e-5;
            let moved = Tensor::<1>::from_floats(moved.as_slice(), &Device::default()).reshape(shape.clone());
            let changed = (median.apply(moved, &ImageDraws::default())
                - median.apply(image.clone(), &ImageDraws::default()))
                / 1e-5;
            let slope: f32 = (changed * weights.clone()).sum().into_scalar();
            assert!((slope - gradient[at]).abs() < 0.02 * (1.0 + gradient[at]), "{window} {at}: {slope}");
        }
    }
}

/// How many images are still right after PGD from the images themselves, without early stop.
fn right_under_pgd(defended: &Frozen, size: f64) -> usize {
    let attack = Pgd::new(linf(size)).with_random_start(false).with_early_stop(false).with_steps(20);
    let adversarial = attack.perturb(defended, images(4), &Goal::untargeted(labels(4))).unwrap();
    right(defended, adversarial, &labels(4))
}

#[test]
fn the_declared_backward_breaks_what_a_zero_gradient_hides() {
    fn case(defense: impl Preprocess + Clone + 'static) {
        let real = defense.clone();
        let hidden = victim::victim(4).behind(move |x| real.apply(x.inner(), &ImageDraws::default()));
        let defended = defense.clone().before(victim::victim(4)).unwrap();
        let clean = right(&defended, images(4), &labels(4));
        let (under_zero, under_bpda) = (right_under_pgd(&hidden, 0.06), right_under_pgd(&defended, 0.06));
        println!("{defense:?}: {clean} clean, {under_zero} with zero gradients, {under_bpda} with BPDA");
        assert!(clean >= 24, "{defense:?}: {clean}");
        assert_eq!(under_zero, clean, "{defense:?}: nothing to follow");
        assert!(under_bpda <= clean / 3, "{defense:?}: {under_bpda} of {clean}");
    }
    case(BitDepth::new(4));
    for backward in [JpegBackward::Cubic, JpegBackward::Linear, JpegBackward::Identity] {
        case(Jpeg::new(75).with_backward(backward));
    }
    case(Jpeg::new(90).with_subsampling(Subsampling::Full));
    for backward in [MedianBackward::Selected, MedianBackward::Identity] {
        case(Median::new().with_window(2).with_backward(backward));
    }
}

/// Right answers in 20 fresh draws, of all images together.
fn right_in_fresh_draws(defended: &Frozen, adversarial: &Tensor<4>) -> usize {
    (0..20).map(|_| right(defended, adversarial.clone(), &labels(4))).sum()
}

#[test]
fn the_expectation_breaks_random_defenses_at_least_as_well_as_one_draw() {
    fn case(defense: impl Preprocess + Clone + 'static, steps: usize) {
        let defended = || defense.clone().before(victim::victim(4)).unwrap();
        let attack = Pgd::new(linf(0.06)).with_random_start(false).with_early_stop(false).with_steps(steps);
        let crafted =
            |victim: &Frozen| attack.perturb(victim, images(4), &Goal::untargeted(labels(4))).unwrap();
        let (expectation, fresh) = (defended().expectation_over(10, Average::Losses), defended());
        let clean = right_in_fresh_draws(&fresh, &images(4));
        let one = right_in_fresh_draws(&fresh, &crafted(&defended()));
        let many = right_in_fresh_draws(&fresh, &crafted(&expectation));
        println!("{defense:?}: {clean} clean, {one} with one draw a step, {many} with ten, of 640");
        assert!(clean > 320 && many <= one && many < clean / 3, "{defense:?}: {clean} {one} {many}");
        assert_eq!(expectation.watch().queries(), Queries::gradients(32 * 10 * steps));
    }
    case(RandomResizePad::new().with_growth(2.0), 10);
    case(TotalVariation::new(), 3);
}

#[test]
fn results_do_not_depend_on_the_batch() {
    let chain = || {
        Chain::new()
            .with(RandomResizePad::new().with_growth(1.3))
            .with(BitDepth::new(5))
            .with(TotalVariation::new().with_iterations(2))
    };
    let all = images(4).narrow(0, 0, 6);
    let ask = |defended: &Frozen, start: usize, count: usize| {
        values(defended.logits(all.clone().narrow(0, start, count)))
    };
    let (together, apart) =
        (chain().before(victim::victim(4)).unwrap(), chain().before(victim::victim(4)).unwrap());
    let mut rounds = Vec::new();
    for _ in 0..3 {
        let whole = ask(&together, 0, 6);
        // In another order too.
        let (late, early) = (ask(&apart, 4, 2), ask(&apart, 0, 4));
        let off = victim::largest_difference(&whole, &[early, late].concat());
        assert!(off < 1e-5, "{off}");
        rounds.push(whole);
    }
    assert!(rounds[0] != rounds[1] && rounds[1] != rounds[2], "every question draws anew");
    let seeded = RandomResizePad::new().with_growth(1.3);
    let [one, other] =
        [0, 1].map(|seed| ask(&seeded.with_seed(seed).before(victim::victim(4)).unwrap(), 0, 6));
    assert_ne!(one, other, "another seed");
}

#[test]
fn queries_count_once_a_pass() {
    let defended = Median::new().before(victim::victim(4)).unwrap();
    defended.logits(images(4));
    defended.input_gradient(images(4), |logits| logits.sum_dim(1).reshape([-1]));
    assert_eq!(defended.watch().queries(), Queries { forwards: 32, gradients: 32 });
    let ensemble = Frozen::averaged([victim::victim(4), victim::victim(4)], Average::Losses);
    let defended = Median::new().before(ensemble).unwrap();
    defended.logits(images(4));
    assert_eq!(defended.watch().queries(), Queries::forwards(64));
}

/// The losses of an ensemble are still averaged one by one behind a defense.
#[test]
fn an_average_of_losses_stays_one() {
    let ensemble = || {
        let other = Frozen::from_fn(4, &Device::default(), |x| {
            let means = x.mean_dims(&[2, 3]).reshape([-1, 3]);
            Tensor::cat(vec![means.clone(), means.narrow(1, 0, 1).neg()], 1) * 9.0
        });
        Frozen::averaged([victim::victim(4), other], Average::Losses)
    };
    let goal = Goal::untargeted(labels(4));
    let plain = ensemble().input_gradient(images(4), |logits| goal.objective(logits));
    let behind = Custom::new("Nothing", |x| x, Backward::Exact).before(ensemble()).unwrap();
    let found = behind.input_gradient(images(4), |logits| goal.objective(logits));
    assert_eq!(values(found.gradient), values(plain.gradient));
    assert_eq!(values(found.logits), values(plain.logits));
}

#[test]
fn three_views_tell_the_attack_that_knows_the_defense() {
    // Darker images than the undefended classifier sees: 0.5 and 0.6 become 0.43 and 0.57 of 7 levels.
    let defended = BitDepth::new(3).before(bright()).unwrap();
    let attacks = attack_views(Pgd::new(linf(0.12)).with_early_stop(false), bright(), 200);
    let found = Evaluation::new(&defended).attacks(attacks).run(&Plain::eight()).unwrap();
    let names: Vec<&str> = found.attacks.iter().map(|attack| attack.label.as_str()).collect();
    assert_eq!(names, ["PGD from the undefended network", "PGD", "Square"]);
    // Images move as one, so that one gradient is as good as another here.
    let [oblivious, bpda, square] = [0, 1, 2].map(|view| hits(&found, names[view])[0]);
    let clean = found.clean.metrics.accuracy.hits;
    assert!(bpda <= oblivious && bpda <= square && bpda < clean, "{oblivious} {bpda} {square} of {clean}");
    // An attack without a budget has no black-box counterpart.
    assert_eq!(attack_views(DeepFool::new(), bright(), 10).len(), 2);
}

/// A defense with its source, and how its settings are read back.
struct Case {
    defense: Box<dyn Preprocess>,
    again: fn(Value) -> Value,
    source: &'static str,
}

fn case<P: Preprocess + DeserializeOwned + 'static>(defense: P, source: &'static str) -> Case {
    let again = |settings| serde_json::from_value::<P>(settings).expect("readable settings").settings();
    Case { defense: Box::new(defense), again, source }
}

macro_rules! source {
    ($path:literal) => {
        include_str!(concat!("../src/defense/preprocess/", $path, ".rs"))
    };
}

fn cases() -> Vec<Case> {
    vec![
        case(BitDepth::new(3), source!("bit_depth")),
        case(BitDepth::new(4).with_levels(Levels::Truncated), source!("bit_depth")),
        case(Median::new().with_backward(MedianBackward::Identity), source!("median")),
        case(Jpeg::new(50).with_subsampling(Subsampling::Full), source!("jpeg/jpeg")),
        case(TotalVariation::new(), source!("total_variation")),
        case(RandomResizePad::new().with_interpolation(Interpolation::Nearest), source!("resize_pad")),
    ]
}

/// Name and range of each row of the table of parameters in a type's documentation.
fn table(source: &str) -> Vec<(String, String)> {
    let lines = source.lines().skip_while(|line| *line != "/// | parameter | default | range |");
    let rows = lines.map_while(|line| line.strip_prefix("/// |")?.strip_suffix('|'));
    let row = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        (cells[0].to_string(), cells[2].to_string())
    };
    rows.map(row).collect()
}

#[test]
fn settings_are_read_back_and_documented_ranges_checked() {
    for Case { defense, again, source } in cases() {
        let settings = defense.settings();
        assert_eq!(again(settings.clone()), settings, "{defense:?}");
        assert_eq!(
            serde_json::to_value(&*defense).unwrap(),
            serde_json::json!({ "preprocessing": defense.name(), "settings": settings })
        );
        let rows = table(source);
        for parameter in defense.parameters() {
            let (name, range) = (parameter.name(), parameter.range());
            assert!(rows.iter().any(|row| row.0 == name && row.1 == range), "{defense:?}: {name}, {range}");
            assert_eq!(parameter.clone().check(), Ok(()), "{defense:?}");
        }
    }
}

#[test]
fn parameters_out_of_range_are_refused_before_work_starts() {
    fn refused(defense: impl Preprocess + 'static, parameter: &str) {
        let shown = format!("{defense:?}");
        let error = defense.before(victim::victim(4)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{parameter}: expected")), "{shown}: {error}");
    }
    refused(BitDepth::new(0), "bits");
    refused(BitDepth::new(9), "bits");
    refused(Median::new().with_window(0), "window");
    refused(Jpeg::new(0), "quality");
    refused(Jpeg::new(101), "quality");
    refused(TotalVariation::new().with_kept(1.5), "kept");
    refused(TotalVariation::new().with_weight(f64::NAN), "weight");
    refused(TotalVariation::new().with_iterations(0), "iterations");
    refused(RandomResizePad::new().with_growth(0.9), "growth");
    refused(RandomResizePad::new().with_fill(-0.1), "fill");
    refused(Chain::new().with(Median::new()).with(Jpeg::new(0)), "quality");
    for edge in [BitDepth::new(1), BitDepth::new(8)] {
        assert!(edge.before(victim::victim(4)).is_ok());
    }
    assert!(
        Jpeg::new(1).before(victim::victim(4)).is_ok() && Jpeg::new(100).before(victim::victim(4)).is_ok()
    );
    assert!(RandomResizePad::new().with_growth(1.0).before(victim::victim(4)).is_ok());
}

/// Without growth there is one size and one place.
#[test]
fn no_growth_changes_nothing() {
    let defense = RandomResizePad::new().with_growth(1.0);
    let found = defense.apply(images(4), &ImageDraws::first(&images(4)));
    assert_eq!(values(found), values(images(4)));
}

/// Rounding and sorting would hide it.
#[test]
fn an_image_that_is_not_finite_stays_visible() {
    let defenses: [Box<dyn Preprocess>; 5] = [
        Box::new(BitDepth::new(3)),
        Box::new(Median::new()),
        Box::new(Jpeg::new(75)),
        Box::new(TotalVariation::new()),
        Box::new(RandomResizePad::new()),
    ];
    for defense in defenses {
        let shown = format!("{defense:?}");
        let defended = Chain::from_iter([defense]).before(victim::victim(4)).unwrap();
        for bad in [f32::NAN, f32::INFINITY] {
            let found = values(defended.logits(images(4).slice_fill([0..1, 0..1, 3..4, 3..4], bad)));
            let (spoiled, whole) = found.split_at(4);
            assert!(spoiled.iter().all(|logit| logit.is_nan()), "{shown}: {spoiled:?}");
            assert!(whole.iter().all(|logit| logit.is_finite()), "{shown}");
        }
    }
}
