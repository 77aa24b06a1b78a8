//! Universal perturbations against PyTorch and foolbox, and what their files and figures promise.

mod victim;

use std::cell::Cell;
use std::collections::HashMap;

use burn::tensor::{Device, Tensor};
use histoguard::attack::{Access, DeepFoolUap, SgdUap, StoredError, UniversalPerturbation};
use histoguard::classifier::Queries;
use histoguard::data::TensorSet;
use histoguard::evaluate::Fooling;
use histoguard::prelude::*;
use safetensors::{Dtype, SafeTensors};
use victim::{golden, largest_difference, values};

const COUNT: usize = 32;
const SHAPE: [usize; 3] = [3, 16, 16];

fn stored(name: &str) -> Vec<f32> {
    golden("universal", name).try_into_vec().unwrap()
}

/// The images as a data set would give them, with their labels or all towards class 1.
fn fetch(classes: usize, positions: &[usize], targeted: bool) -> Result<(Tensor<4>, Goal), AttackError> {
    let images = histoguard::rows::take(&victim::images(classes), positions);
    let all = victim::labels(classes);
    let labels: Vec<usize> = positions.iter().map(|&position| all[position]).collect();
    let goal = if targeted { Goal::targeted(vec![1; labels.len()]) } else { Goal::untargeted(labels) };
    Ok((images, goal))
}

/// The same in the golden orders, whatever positions are asked for; whole sets come as they are.
fn in_golden_order(
    classes: usize,
    targeted: bool,
) -> impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), AttackError> {
    let orders: Vec<usize> =
        stored(&format!("orders{classes}")).into_iter().map(|position| position as usize).collect();
    let at = Cell::new(0);
    move |positions| {
        if positions.len() == COUNT {
            return fetch(classes, positions, targeted);
        }
        let from = at.replace(at.get() + positions.len());
        fetch(classes, &orders[from..at.get()], targeted)
    }
}

fn sgd(budget: Budget) -> SgdUap {
    SgdUap::new(budget).with_passes(3).with_batch_size(5).with_step(0.4)
}

/// The golden file's victim: float32 cannot tell the gradient of an answer that is nearly certain.
fn unsure(classes: usize) -> Frozen {
    let net = victim::Victim::trained(classes, &Device::default());
    Frozen::from_fn(classes, &Device::default(), move |x| net.logits(x) * 0.1)
}

#[test]
fn sgd_uap_equals_pytorch_pass_by_pass() {
    for classes in [2, 4] {
        let victim = unsure(classes);
        let budget = Budget::pixels(23.7);
        let towards = sgd(budget).with_decay(1.0).with_beta(1.3);
        for (name, attack) in [
            ("linf", sgd(budget)),
            ("l2", sgd(Budget::l2(2.5))),
            ("l1", sgd(Budget::l1(20.0))),
            ("targeted", towards),
        ] {
            let expected = stored(&format!("sgd{classes}.{name}"));
            let mut images = in_golden_order(classes, name == "targeted");
            let mut found = attack.start(SHAPE, &Device::default()).unwrap();
            for (pass, expected) in expected.chunks(values(found.values()).len()).enumerate() {
                let left = attack.pass(&victim, &mut found, COUNT, &mut images).unwrap();
                assert_eq!(left, pass < 2, "{name}");
                let off = largest_difference(&values(found.values()), expected);
                assert!(off < 2e-5, "{classes} classes, {name}, pass {pass}: {off}");
            }
            assert!(!attack.pass(&victim, &mut found, COUNT, &mut images).unwrap());
        }
    }
}

#[test]
fn deepfool_uap_equals_foolbox_on_single_images() {
    for classes in [2, 4] {
        let victim = victim::victim(classes);
        for (name, budget) in [("linf", Budget::pixels(23.7)), ("l2", Budget::l2(2.5))] {
            let attack = DeepFoolUap::new(budget).with_passes(1);
            let found = attack.learn(&victim, COUNT, skip_first(in_golden_order(classes, false))).unwrap();
            let expected = stored(&format!("deepfool{classes}.{name}"));
            let off = largest_difference(&values(found.values()), &expected);
            assert!(off < 1e-4, "{classes} classes, {name}: {off}");
            assert!(found.origin().finished);
        }
    }
}

/// The first call asks for an image's shape alone.
fn skip_first(
    mut images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), AttackError>,
) -> impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), AttackError> {
    let mut first = true;
    move |positions| {
        if std::mem::take(&mut first) { fetch(2, &[0], false) } else { images(positions) }
    }
}

#[test]
fn what_was_interrupted_goes_on_to_the_same_values() {
    let victim = victim::victim(4);
    let attack = SgdUap::new(Budget::l1(20.0)).with_passes(3).with_seed(5);
    let images = |positions: &[usize]| fetch(4, positions, false);
    let whole = attack.learn(&victim, COUNT, images).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uap.safetensors");
    let mut part = attack.start(SHAPE, &Device::default()).unwrap();
    attack.pass(&victim, &mut part, COUNT, images).unwrap();
    part.save(&path).unwrap();
    // Stopped in the middle of a pass: the pass counts for nothing.
    victim.watch().stop();
    assert_eq!(attack.pass(&victim, &mut part, COUNT, images).unwrap_err(), AttackError::Stopped);
    victim.watch().resume();
    let mut later = UniversalPerturbation::load(&path, &Device::default()).unwrap();
    assert_eq!((later.origin().passes, later.origin().finished), (1, false));
    while attack.pass(&victim, &mut later, COUNT, images).unwrap() {}
    assert_eq!(values(later.values()), values(whole.values()));
    assert_eq!(later.origin(), whole.origin());
    // Another seed learns in another order, and does not go on from here.
    let other = attack.with_seed(6);
    assert_ne!(values(other.learn(&victim, COUNT, images).unwrap().values()), values(whole.values()));
    let error = other.pass(&victim, &mut later, COUNT, images).unwrap_err().to_string();
    assert!(error.starts_with("perturbation: expected one of SGD-UAP {"), "{error}");
    let error = attack.pass(&victim, &mut later, COUNT - 1, images).unwrap_err().to_string();
    assert_eq!(error, "images: expected 32, as in the passes before, found 31");
}

#[test]
fn a_perturbation_is_added_scaled_and_kept_in_the_box() {
    let victim = victim::victim(4);
    let budget = Budget::pixels(23.7);
    let learned = sgd(budget).learn(&victim, COUNT, |positions| fetch(4, positions, false)).unwrap();
    let (images, goal) = fetch(4, &[0, 1, 2, 3], false).unwrap();
    let half = learned.at(Budget::pixels(11.85));
    let moved = half.perturb(&victim, images.clone(), &goal).unwrap();
    let v = values(learned.values());
    for (image, moved) in values(images.clone()).chunks(v.len()).zip(values(moved).chunks(v.len())) {
        for ((x, moved), v) in image.iter().zip(moved).zip(&v) {
            assert!(((x + v / 2.0).clamp(0.0, 1.0) - moved).abs() < 1e-6);
        }
    }
    let profile = half.profile();
    assert_eq!((profile.name.as_str(), profile.access), ("SGD-UAP", Access::Learned));
    assert_eq!(profile.queries, Some(Queries::NONE));
    // Other shapes and norms are refused before any work.
    let small = images.clone().narrow(3, 0, 8);
    let error = learned.perturb(&victim, small, &goal).unwrap_err().to_string();
    assert!(error.contains("image shape: expected images of 3x16x16"), "{error}");
    let error = learned.at(Budget::l2(1.0)).perturb(&victim, images, &goal).unwrap_err().to_string();
    assert!(error.contains("norm: expected Linf"), "{error}");
}

#[test]
fn fooling_is_counted_over_all_images_and_over_those_that_were_right() {
    let victim = unsure(4);
    let learned = sgd(Budget::l2(3.0)).learn(&victim, COUNT, |positions| fetch(4, positions, false)).unwrap();
    // Every fourth label is wrong, so that answers and labels differ.
    let labels: Vec<usize> =
        victim::labels(4).iter().enumerate().map(|(i, &l)| (l + usize::from(i % 4 == 0)) % 4).collect();
    let classes: Vec<String> = (0..4).map(|class| class.to_string()).collect();
    let set = TensorSet::new(victim::images(4), labels.clone(), classes).unwrap();
    let (all, goal) = (victim::images(4), Goal::untargeted(&labels));
    let before = victim.predict(all.clone());
    let after = victim.predict(learned.perturb(&victim, all, &goal).unwrap());
    let changed = (0..COUNT).filter(|&i| before[i] != after[i]).count();
    let right: Vec<usize> = (0..COUNT).filter(|&i| before[i] == labels[i]).collect();
    let broken = right.iter().filter(|&&i| after[i] != labels[i]).count();
    for batch_size in [1, 7, 32] {
        let fooling = Fooling::of(&victim, &learned, &set, batch_size).unwrap();
        assert_eq!((fooling.changed.hits, fooling.changed.total), (changed, COUNT));
        assert_eq!((fooling.broken.hits, fooling.broken.total), (broken, right.len()));
        assert_eq!(fooling.flips.iter().map(|flip| flip.images.hits).sum::<usize>(), broken);
        assert_eq!(fooling.flips.len(), 12);
    }
    assert!(changed > COUNT / 4, "{changed}");
    // As large, of random signs or directions: what a learned one has to beat.
    let random = UniversalPerturbation::random(Budget::l2(3.0), SHAPE, 0, &Device::default()).unwrap();
    let control = Fooling::of(&victim, &random, &set, 32).unwrap();
    assert!(2 * control.changed.hits < changed, "{} of {changed}", control.changed.hits);
}

#[test]
fn random_perturbations_use_the_whole_budget() {
    let device = Device::default();
    for budget in [Budget::pixels(8.0), Budget::l2(1.5), Budget::l1(30.0)] {
        let drawn = |seed| UniversalPerturbation::random(budget, SHAPE, seed, &device).unwrap();
        let length = values(budget.norm().measure(drawn(0).values().unsqueeze()))[0];
        assert!((f64::from(length) / budget.size() - 1.0).abs() < 1e-5, "{budget}: {length}");
        assert_eq!(values(drawn(3).values()), values(drawn(3).values()));
        assert_ne!(values(drawn(3).values()), values(drawn(4).values()));
    }
}

#[test]
fn its_picture_is_gray_where_nothing_changes() {
    let values3 = Tensor::<1>::from_floats([0.0, 0.02, -0.01, 0.0], &Device::default()).reshape([1, 2, 2]);
    let random =
        UniversalPerturbation::random(Budget::pixels(8.0), [1, 2, 2], 0, &Device::default()).unwrap();
    let own = UniversalPerturbation::new(values3, Budget::pixels(8.0), random.origin().clone()).unwrap();
    assert_eq!(values(own.picture()), [0.5, 1.0, 0.25, 0.5]);
}

#[test]
fn settings_are_refused_out_of_their_ranges() {
    let device = Device::default();
    let base = SgdUap::new(Budget::pixels(8.0));
    for (attack, said) in [
        (SgdUap::new(Budget::pixels(0.0)), "budget: expected a finite number above 0, found 0"),
        (SgdUap::new(Budget::l0(5)), "norm: expected Linf, L2 or L1, found L0"),
        (base.with_passes(0), "passes: expected at least 1, found 0"),
        (base.with_batch_size(0), "batch size: expected at least 1, found 0"),
        (base.with_step(0.0), "step: expected a finite number above 0, found 0"),
        (base.with_decay(f64::NAN), "decay: expected a finite number above 0, found NaN"),
        (base.with_beta(-1.0), "beta: expected a finite number above 0, found -1"),
    ] {
        assert_eq!(attack.start(SHAPE, &device).unwrap_err().to_string(), said);
    }
    let base = DeepFoolUap::new(Budget::pixels(8.0));
    for (attack, said) in [
        (DeepFoolUap::new(Budget::l1(1.0)), "norm: expected Linf or L2, found L1"),
        (base.with_passes(0), "passes: expected at least 1, found 0"),
        (base.with_delta(1.5), "delta: expected a number from 0 to 1, found 1.5"),
        (base.with_steps(0), "steps: expected at least 1, found 0"),
        (base.with_overshoot(-0.1), "overshoot: expected a finite number of at least 0, found -0.1"),
        (base.with_batch_size(0), "batch size: expected at least 1, found 0"),
    ] {
        assert_eq!(attack.start(SHAPE, &device).unwrap_err().to_string(), said);
    }
    let victim = victim::victim(2);
    let none = base.learn(&victim, 0, |positions| fetch(2, positions, false)).unwrap_err();
    assert_eq!(none.to_string(), "images: expected at least 1, found 0");
}

/// The file of a perturbation, with this done to its header's metadata and its values.
fn damaged(
    change: impl Fn(&mut HashMap<String, String>, &mut Vec<f32>),
) -> Result<UniversalPerturbation, StoredError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uap.safetensors");
    UniversalPerturbation::random(Budget::pixels(8.0), [1, 2, 2], 0, &Device::default())
        .unwrap()
        .save(&path)
        .unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut metadata = header.metadata().clone().unwrap();
    let view = SafeTensors::deserialize(&bytes).unwrap();
    let view = view.tensor("perturbation").unwrap();
    let mut floats: Vec<f32> =
        view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    change(&mut metadata, &mut floats);
    let data: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape = if floats.len() == 4 { vec![1, 2, 2] } else { vec![floats.len()] };
    let view = safetensors::tensor::TensorView::new(Dtype::F32, shape, &data).unwrap();
    std::fs::write(&path, safetensors::serialize([("perturbation", view)], Some(metadata)).unwrap()).unwrap();
    UniversalPerturbation::load(&path, &Device::default())
}

fn relabel(metadata: &mut HashMap<String, String>, label: &str) {
    metadata.insert("histoguard".into(), label.into());
}

#[test]
fn broken_files_are_refused_by_name() {
    assert!(damaged(|_, _| {}).is_ok());
    type Damage = fn(&mut HashMap<String, String>, &mut Vec<f32>);
    let cases: [(Damage, &str); 7] = [
        (|_, values| values[2] = f32::NAN, "found NaN in perturbation"),
        (|_, values| values[0] = 0.5, "expected a perturbation within Linf 8/255, found one of 0.5"),
        (|_, values| values.push(0.0), "expected a perturbation of channels, height and width, found [5]"),
        (|metadata, _| metadata.clear(), "found safetensors of something else"),
        (|metadata, _| relabel(metadata, r#"{"kind":"patch","about":{}}"#), "found a patch"),
        (
            |metadata, _| relabel(metadata, r#"{"kind":"universal perturbation","about":{}}"#),
            "missing field `budget`",
        ),
        (|metadata, _| relabel(metadata, "{}"), "found a label with missing field `kind`"),
    ];
    for (damage, said) in cases {
        let error = damaged(damage).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("uap.safetensors"), "{error}");
    }
    let nowhere = UniversalPerturbation::load("nowhere/uap.safetensors", &Device::default()).unwrap_err();
    assert!(nowhere.to_string().starts_with("nowhere/uap.safetensors: expected a file of a learned attack"));
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.safetensors");
    std::fs::write(&cut, [8, 0, 0]).unwrap();
    let error = UniversalPerturbation::load(&cut, &Device::default()).unwrap_err().to_string();
    assert!(error.contains("expected a universal perturbation that this crate wrote"), "{error}");
}
