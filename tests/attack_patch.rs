//! Adversarial patches against IBM ART, and what their files, places and figures promise.

mod victim;

use std::collections::HashMap;

use burn::tensor::{Device, Tensor};
use histoguard::attack::{
    Access, AdversarialPatch, Attack, Mask, Masked, Origin, Patch, PatchOptimizer, PatchOverlay, PatchShape,
    Placement, Places, Settings, StoredError,
};
use histoguard::classifier::Queries;
use histoguard::data::TensorSet;
use histoguard::evaluate::{PatchSuccess, PatchTrial};
use histoguard::prelude::*;
use safetensors::{Dtype, SafeTensors};
use victim::{golden, largest_difference, values};

/// Images of the golden file.
const COUNT: usize = 13;
const SHAPE: [usize; 3] = [3, 16, 16];

fn stored(name: &str) -> Vec<f32> {
    golden("patch", name).try_into_vec().unwrap()
}

fn tensor<const D: usize>(name: &str) -> Tensor<D> {
    Tensor::from_data(golden("patch", name), &Device::default())
}

/// The golden file's places, in turn.
fn golden_places(count: usize) -> Vec<Placement> {
    let numbers: Vec<f64> = stored("places").into_iter().map(f64::from).collect();
    let place = |i: usize| {
        let [scale, right, down, angle] = numbers[i % 4 * 4..][..4] else { panic!("four numbers") };
        Placement { scale, angle, shift: [right, down] }
    };
    (0..count).map(place).collect()
}

fn fetch(classes: usize, positions: &[usize], targeted: bool) -> Result<(Tensor<4>, Goal), AttackError> {
    let images = histoguard::rows::take(&victim::images(classes), positions);
    let all = victim::labels(classes);
    let labels: Vec<usize> = positions.iter().map(|&position| all[position]).collect();
    let goal = if targeted { Goal::targeted(vec![1; labels.len()]) } else { Goal::untargeted(labels) };
    Ok((images, goal))
}

/// The golden file's victim: float32 cannot tell the gradient of an answer that is nearly certain.
fn unsure(classes: usize) -> Frozen {
    let net = victim::Victim::trained(classes, &Device::default());
    Frozen::from_fn(classes, &Device::default(), move |x| net.logits(x) * 0.1)
}

#[test]
fn patches_are_laid_as_arts() {
    let images: Tensor<4> = tensor("place.images");
    for shape in [PatchShape::Circle, PatchShape::Square] {
        for size in [9, 40] {
            let name = format!("{}{size}", if shape == PatchShape::Circle { "circle" } else { "square" });
            let overlay = PatchOverlay::new(shape, size, &images);
            let patch: Tensor<3> = tensor(&format!("place.patch.{name}"));
            let found = values(overlay.apply(&images, &patch, &golden_places(4)));
            let expected = stored(&format!("place.{name}"));
            let off = largest_difference(&found, &expected);
            assert!(off < 1e-4, "{name}: {off}");
            let moved = found.iter().zip(values(images.clone())).filter(|(a, b)| *a != b).count();
            assert!(moved > found.len() / 4, "{name}: {moved}");
        }
    }
}

#[test]
fn gradients_at_the_patch_are_those_of_autograd() {
    for classes in [2, 4] {
        let (victim, positions) = (unsure(classes), (0..COUNT).collect::<Vec<_>>());
        let (images, goal) = fetch(classes, &positions, false).unwrap();
        let overlay = PatchOverlay::new(PatchShape::Circle, 8, &images);
        let (patch, places) = (tensor::<3>(&format!("gradient{classes}.patch")), golden_places(COUNT));
        let patched = overlay.apply(&images, &patch, &places);
        let found = victim.input_gradient(patched, |logits| goal.objective(logits));
        let found = values(overlay.adjoint(&found.gradient, &places) / COUNT as f64);
        let expected = stored(&format!("gradient{classes}"));
        let largest = expected.iter().fold(0f32, |most, g| most.max(g.abs()));
        let off = largest_difference(&found, &expected) / largest;
        assert!(off < 1e-4, "{classes} classes: {off} of the largest");
    }
}

#[test]
fn gradients_at_the_patch_are_those_of_finite_differences() {
    let (victim, positions) = (unsure(4), (0..COUNT).collect::<Vec<_>>());
    let (images, goal) = fetch(4, &positions, false).unwrap();
    // Away from 0 and 1, where nothing is cut.
    let patch = tensor::<3>("gradient4.patch") * 0.8 + 0.1;
    for (shape, size) in [(PatchShape::Circle, 8), (PatchShape::Square, 8)] {
        let (overlay, places) = (PatchOverlay::new(shape, size, &images), golden_places(COUNT));
        let loss = |patch: &Tensor<3>| -> f64 {
            let logits = victim.logits(overlay.apply(&images, patch, &places));
            values(goal.objective(logits)).into_iter().map(f64::from).sum()
        };
        let patched = overlay.apply(&images, &patch, &places);
        let gradient = victim.input_gradient(patched, |logits| goal.objective(logits)).gradient;
        let gradient = overlay.adjoint(&gradient, &places);
        // Along directions, as single precision is too coarse for single values.
        for direction in [gradient.clone().sign(), gradient.clone().sin(), (patch.clone() * 40.0).sin()] {
            let step = direction.clone() * 0.02;
            let found = (loss(&(patch.clone() + step.clone())) - loss(&(patch.clone() - step))) / 0.04;
            let expected: f64 = (gradient.clone() * direction).sum().into_scalar::<f32>().into();
            assert!(
                (found - expected).abs() < 0.01 * expected.abs() + 1e-3,
                "{shape:?}: {found}, {expected}"
            );
        }
    }
}

fn learner(name: &str) -> AdversarialPatch {
    let base = AdversarialPatch::new(7).with_passes(4).with_batch_size(5).with_rotation_max(0.0);
    let base = base.with_location(Some([3, 6]));
    match name {
        "adam.away" => base,
        "adam.towards" => base.with_shape(PatchShape::Square).with_learning_rate(0.05),
        "sign.away" => {
            let sign = base.with_optimizer(PatchOptimizer::Sign).with_learning_rate(0.03);
            sign.with_shape(PatchShape::Square)
        }
        _ => base.with_optimizer(PatchOptimizer::Sign).with_learning_rate(0.03),
    }
}

#[test]
fn learning_equals_arts_pass_by_pass() {
    for classes in [2, 4] {
        let victim = unsure(classes);
        for name in ["adam.away", "adam.towards", "sign.away", "sign.towards"] {
            let (learner, targeted) = (learner(name), name.ends_with("towards"));
            let expected = stored(&format!("learned{classes}.{name}"));
            let mut patch = learner.start(SHAPE, &Device::default()).unwrap();
            let mut at = 0;
            // In the order of the images, whatever positions are asked for.
            let mut images = |positions: &[usize]| {
                let own: Vec<usize> = (0..positions.len()).map(|i| (at + i) % COUNT).collect();
                at += positions.len();
                fetch(classes, &own, targeted)
            };
            for (pass, expected) in expected.chunks(3 * 7 * 7).enumerate() {
                let left = learner.pass(&victim, &mut patch, COUNT, &mut images).unwrap();
                assert_eq!(left, pass < 3, "{name}");
                let off = largest_difference(&values(patch.values()), expected);
                assert!(off < 2e-4, "{classes} classes, {name}, pass {pass}: {off}");
            }
            assert!(!learner.pass(&victim, &mut patch, COUNT, &mut images).unwrap());
        }
    }
}

#[test]
fn what_was_interrupted_goes_on_to_the_same_values() {
    let victim = victim::victim(4);
    let images = |positions: &[usize]| fetch(4, positions, true);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("patch.safetensors");
    for optimizer in [PatchOptimizer::Adam, PatchOptimizer::Sign] {
        let learner = AdversarialPatch::new(6).with_passes(4).with_seed(5).with_optimizer(optimizer);
        let whole = learner.learn(&victim, 32, images).unwrap();
        let mut part = learner.start(SHAPE, &Device::default()).unwrap();
        for _ in 0..2 {
            learner.pass(&victim, &mut part, 32, images).unwrap();
        }
        // Stopped in the middle of a pass: the pass counts for nothing.
        victim.watch().stop();
        assert_eq!(learner.pass(&victim, &mut part, 32, images).unwrap_err(), AttackError::Stopped);
        victim.watch().resume();
        part.save(&path).unwrap();
        let mut later = Patch::load(&path, &Device::default()).unwrap();
        assert_eq!((later.origin().passes, later.origin().finished), (2, false));
        while learner.pass(&victim, &mut later, 32, images).unwrap() {}
        assert_eq!(values(later.values()), values(whole.values()));
        assert_eq!(later.settings(), whole.settings());
        // Another seed learns in another order and other places, and does not go on from here.
        let other = learner.with_seed(6);
        assert_ne!(values(other.learn(&victim, 32, images).unwrap().values()), values(whole.values()));
        let error = other.pass(&victim, &mut later, 32, images).unwrap_err().to_string();
        assert!(error.starts_with("patch: expected one of Adversarial patch {"), "{error}");
        let error = learner.pass(&victim, &mut later, 31, images).unwrap_err().to_string();
        assert_eq!(error, "images: expected 32, as in the passes before, found 31");
    }
}

fn random(shape: PatchShape, places: Places) -> Patch {
    Patch::random(shape, 6, SHAPE, places, 0, &Device::default()).unwrap()
}

#[test]
fn a_patch_keeps_to_the_values_that_it_says_it_covers() {
    let (victim, images) = (victim::victim(4), victim::images(4));
    let goal = Goal::untargeted(victim::labels(4));
    for shape in [PatchShape::Circle, PatchShape::Square] {
        for (scale, rotation) in [(0.1, 0.0), (0.3, 45.0), (0.5, 180.0), (0.8, 22.5), (1.0, 0.0)] {
            let places =
                Places { rotation_max: rotation, scale_min: scale, scale_max: scale, ..Places::default() };
            let patch = random(shape, places);
            let profile = patch.profile();
            assert_eq!((profile.name.as_str(), profile.access), ("Random patch", Access::Learned));
            assert_eq!(profile.queries, Some(Queries::NONE));
            for seed in 0..5 {
                let moved = patch.with_seed(seed).perturb(&victim, images.clone(), &goal).unwrap();
                for changed in values(Norm::L0.measure(moved - images.clone())) {
                    let most = profile.budget().unwrap();
                    assert!(
                        changed > 0.0 && most.holds(f64::from(changed)),
                        "{shape:?}, {scale}: {changed} of {most}"
                    );
                }
            }
            // Not a bound that says nothing.
            let covers = patch.covers().size() / 3.0;
            let area = if shape == PatchShape::Circle { std::f64::consts::FRAC_PI_4 } else { 1.0 }
                * (16.0 * scale).powi(2);
            assert!(covers <= (2.2 * area + 12.0).min(256.0), "{shape:?}, {scale}: {covers}, {area}");
        }
    }
    // A smaller budget makes it smaller, down to nothing.
    let patch = random(PatchShape::Circle, Places::default());
    let mut before = f32::INFINITY;
    for values_left in [768, 200, 60, 12, 2, 0] {
        let attack = patch.at(Budget::l0(values_left));
        let moved = attack.perturb(&victim, images.clone(), &goal).unwrap();
        let changed = values(Norm::L0.measure(moved - images.clone())).into_iter().fold(0.0, f32::max);
        assert!(changed <= values_left as f32 && changed <= before, "{values_left}: {changed}");
        before = changed;
    }
    assert_eq!(before, 0.0);
    let error = patch.at(Budget::l2(1.0)).perturb(&victim, images, &goal).unwrap_err().to_string();
    assert_eq!(error, "norm: expected L0, found L2");
}

#[test]
fn places_depend_on_seed_and_index_alone_and_restarts_try_others() {
    let (victim, images) = (victim::victim(4), victim::images(4).narrow(0, 0, 6));
    let labels = &victim::labels(4)[..6];
    let goal = |rows: std::ops::Range<usize>| {
        Goal::untargeted(&labels[rows.clone()]).with_indices(rows.map(|row| 7 + row as u64).collect())
    };
    let patch = random(PatchShape::Circle, Places::default());
    let together = patch.perturb(&victim, images.clone(), &goal(0..6)).unwrap();
    for row in 0..6 {
        let alone = patch.perturb(&victim, images.clone().narrow(0, row, 1), &goal(row..row + 1)).unwrap();
        assert_eq!(values(alone), values(together.clone().narrow(0, row, 1)));
    }
    let elsewhere = patch.with_seed(1).perturb(&victim, images.clone(), &goal(0..6)).unwrap();
    assert_ne!(values(elsewhere), values(together.clone()));
    let right = |images: Tensor<4>| victim::right(&victim, images, labels);
    let often = Restarts::new(patch.clone(), 20).perturb(&victim, images.clone(), &goal(0..6)).unwrap();
    assert!(right(often) <= right(together));
    // Images of other sizes, and what is refused.
    let tall = Tensor::full([2, 3, 24, 13], 0.5, &Device::default());
    let fits = patch.for_images([3, 24, 13]).unwrap();
    let victim = Frozen::from_fn(3, &Device::default(), |x| x.mean_dims(&[2, 3]).reshape([-1, 3]));
    let moved = fits.perturb(&victim, tall.clone(), &Goal::untargeted([0, 1])).unwrap();
    assert!(values(Norm::L0.measure(moved - tall.clone())).iter().all(|&changed| changed > 0.0));
    let error = patch.perturb(&victim, tall, &Goal::untargeted([0, 1])).unwrap_err().to_string();
    assert_eq!(error, "image shape: expected images of 3x16x16, as it is for, found 3x24x13");
}

#[test]
fn a_patch_under_a_mask_changes_nothing_else() {
    let (victim, images) = (victim::victim(4), victim::images(4).narrow(0, 0, 4));
    let goal = Goal::untargeted(&victim::labels(4)[..4]);
    let patch = random(PatchShape::Square, Places { scale_min: 0.9, ..Places::default() });
    let whole = values(patch.perturb(&victim, images.clone(), &goal).unwrap());
    let masked = Masked::new(patch, Mask::rectangle([16, 16], [0, 0], [16, 5]).unwrap());
    let found = values(masked.perturb(&victim, images.clone(), &goal).unwrap());
    for (i, before) in values(images).into_iter().enumerate() {
        assert_eq!(found[i], if i % 16 < 5 { whole[i] } else { before });
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let device = Device::default();
    let said = |learner: AdversarialPatch| learner.start(SHAPE, &device).unwrap_err().to_string();
    let base = AdversarialPatch::new(6);
    for (learner, expected) in [
        (AdversarialPatch::new(0), "size: expected at least 1, found 0"),
        (base.with_passes(0), "passes: expected at least 1, found 0"),
        (base.with_batch_size(0), "batch size: expected at least 1, found 0"),
        (base.with_learning_rate(0.0), "learning rate: expected a finite number above 0, found 0"),
        (base.with_rotation_max(181.0), "rotation max: expected a number from 0 to 180, found 181"),
        (base.with_scale_max(1.1), "scale max: expected a number above 0, up to 1, found 1.1"),
        (base.with_scale_min(0.0), "scale min: expected a number above 0, up to scale max, found 0"),
        (
            base.with_scale_min(0.6).with_scale_max(0.5),
            "scale min: expected a number above 0, up to scale max, found 0.6",
        ),
        (
            base.with_location(Some([0, 11])),
            "location: expected a corner of 6x6 pixels within 16x16, found row 0, column 11",
        ),
        (base.with_scale_min(f64::NAN), "scale min: expected a number above 0, up to scale max, found NaN"),
    ] {
        assert_eq!(said(learner), expected);
    }
    let patch = |values: Tensor<3>| {
        let origin = Origin::new("test", serde_json::json!({}));
        Patch::new(values, PatchShape::Square, SHAPE, Places::default(), 0, origin)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(patch(Tensor::full([3, 4, 4], 1.5, &device)), "patch: expected values in [0,1], found 1.5");
    assert_eq!(
        patch(Tensor::full([3, 4, 4], f32::NAN, &device)),
        "patch: expected values in [0,1], found NaN"
    );
    assert_eq!(
        patch(Tensor::zeros([3, 4, 5], &device)),
        "patch: expected 3 channels of a square, found 3 of 4x5"
    );
    assert_eq!(
        patch(Tensor::zeros([1, 4, 4], &device)),
        "patch: expected 3 channels of a square, found 1 of 4x4"
    );
}

#[test]
fn files_are_whole_readable_elsewhere_and_refused_when_broken() {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::default());
    let path = folder.path().join("patch.safetensors");
    let victim = victim::victim(4);
    let learner = AdversarialPatch::new(6).with_passes(2);
    let mut patch = learner.start(SHAPE, &device).unwrap();
    learner.pass(&victim, &mut patch, 8, |positions| fetch(4, positions, true)).unwrap();
    patch.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = file.names();
    names.sort_unstable();
    assert_eq!(names, ["adam.first", "adam.second", "patch"]);
    assert_eq!(file.tensor("patch").unwrap().shape(), [3, 6, 6]);

    let said = |bytes: &[u8]| {
        let path = folder.path().join("broken.safetensors");
        std::fs::write(&path, bytes).unwrap();
        let error = Patch::load(&path, &device).unwrap_err();
        assert!(error.to_string().contains("broken.safetensors"), "{error}");
        error.to_string()
    };
    assert!(said(&bytes[..bytes.len() - 3]).contains("expected a patch that this crate wrote"));
    assert!(said(b"").contains("expected a patch"));
    // The same file with other values or without a tensor.
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let rewritten = |change: &dyn Fn(&str, &mut Vec<f32>) -> bool| {
        let mut kept: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for (name, view) in file.iter() {
            let mut numbers: Vec<f32> =
                view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            if change(name, &mut numbers) {
                let bytes = numbers.iter().flat_map(|value| value.to_le_bytes()).collect();
                kept.push((name.to_string(), view.shape().to_vec(), bytes));
            }
        }
        let views = kept.iter().map(|(name, shape, bytes)| {
            let view = safetensors::tensor::TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
            (name.as_str(), view)
        });
        safetensors::tensor::serialize(views.collect::<HashMap<_, _>>(), header.metadata().clone()).unwrap()
    };
    let set = |name: &'static str, value: f32| {
        rewritten(&move |found, numbers| {
            if found == name {
                numbers[7] = value;
            }
            true
        })
    };
    assert!(said(&set("patch", 1.25)).contains("patch: expected values in [0,1], found 1.25"));
    assert!(said(&set("patch", f32::NAN)).contains("found NaN in patch"));
    assert!(said(&set("adam.second", -1.0)).contains("expected the moments of Adam"));
    assert!(said(&rewritten(&|name, _| name != "adam.first")).contains("expected a tensor adam.first"));
    // A universal perturbation is no patch, nor the other way round.
    let universal =
        histoguard::attack::UniversalPerturbation::random(Budget::pixels(8.0), SHAPE, 0, &device).unwrap();
    universal.save(&path).unwrap();
    let error = Patch::load(&path, &device).unwrap_err();
    assert!(
        matches!(error, StoredError::Format { .. }) && error.to_string().contains("universal perturbation"),
        "{error}"
    );
}

#[test]
fn a_learned_patch_beats_a_random_one_in_the_same_places() {
    let victim = unsure(4);
    // Towards class 1, from images of other classes.
    let all = victim::labels(4);
    let others: Vec<usize> = (0..32).filter(|&i| all[i] != 1).collect();
    let learner = AdversarialPatch::new(10).with_passes(25).with_scale_min(0.4).with_scale_max(0.7);
    let learner = learner.with_learning_rate(0.05);
    let images = |positions: &[usize]| {
        let own: Vec<usize> = positions.iter().map(|&position| others[position]).collect();
        fetch(4, &own, true)
    };
    let learned = learner.learn(&victim, others.len(), images).unwrap();
    let classes: Vec<String> = (0..4).map(|class| class.to_string()).collect();
    let set = TensorSet::new(victim::images(4), all.clone(), classes).unwrap();
    let trial = PatchTrial { target: Some(1), scales: vec![0.4, 0.7], places: 4, batch_size: 9 };
    let success = |patch: &Patch| PatchSuccess::of(&victim, patch, &set, &trial).unwrap();
    let (of_learned, of_random) = (success(&learned), success(&random(PatchShape::Circle, learned.places())));
    for (learned, random) in of_learned.scales.iter().zip(&of_random.scales) {
        // Images of class 1 do not count, and all others are right.
        assert_eq!((learned.images.total, learned.classes.len()), (others.len(), 3));
        let [ours, theirs] = [learned, random].map(|at| at.places.unwrap());
        assert!(ours > theirs + 0.2, "scale {:?}: {ours}, {theirs}", learned.scale);
    }
    // By hand, at one scale and in the second place.
    let places = Places { scale_min: 0.7, scale_max: 0.7, ..learned.places() };
    let hits = |seed: u64| {
        let patch = learned.at_places(places).unwrap().with_seed(seed);
        let moved = patch.perturb(&victim, victim::images(4), &Goal::untargeted(&all)).unwrap();
        let answers = victim.predict(moved);
        others.iter().filter(|&&i| answers[i] == 1).count()
    };
    let counts: Vec<usize> = (0..4).map(hits).collect();
    let at = &of_learned.scales[1];
    assert_eq!(at.images.hits, counts[0]);
    assert_eq!(at.places.unwrap(), counts.iter().sum::<usize>() as f64 / (4 * others.len()) as f64);
    for (trial, expected) in [
        (PatchTrial { places: 0, ..trial.clone() }, "places: expected at least 1, found 0"),
        (PatchTrial { target: Some(4), ..trial.clone() }, "target: expected a class below 4, found 4"),
    ] {
        let error = PatchSuccess::of(&victim, &learned, &set, &trial).unwrap_err().to_string();
        assert_eq!(error, expected);
    }
}
