//! The attacks that look for the smallest change against torchattacks, foolbox and scipy.

#[path = "victim/mod.rs"]
mod victim;

use burn::tensor::{Device, Tensor, TensorData};
use histoguard::prelude::*;
use victim::{golden, largest_difference, values};

const SIZE: usize = 3 * 16 * 16;

fn images(classes: usize, count: usize) -> Tensor<4> {
    victim::images(classes).slice([0..count])
}

fn labels(classes: usize, count: usize) -> Vec<usize> {
    victim::labels(classes)[..count].to_vec()
}

/// The classes after the true ones.
fn targets(classes: usize, count: usize) -> Vec<usize> {
    labels(classes, count).into_iter().map(|label| (label + 1) % classes).collect()
}

fn stored(name: &str) -> Vec<f32> {
    golden("minimal", name).try_into_vec().unwrap()
}

fn norms(norm: Norm, found: Tensor<4>, original: Tensor<4>) -> Vec<f32> {
    values(norm.measure(found - original))
}

fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

#[test]
fn deepfool_is_foolboxes_image_for_image() {
    for (classes, norm, candidates, name) in [
        (2, Norm::L2, 10, "deepfool_l2_2"),
        (2, Norm::Linf, 10, "deepfool_linf_2"),
        (4, Norm::L2, 10, "deepfool_l2_4"),
        (4, Norm::Linf, 10, "deepfool_linf_4"),
        (4, Norm::L2, 3, "deepfool_three_4"),
    ] {
        let attack = DeepFool::new().with_norm(norm).with_candidates(candidates);
        let goal = Goal::untargeted(labels(classes, 8));
        let found = attack.perturb(&victim::victim(classes), images(classes, 8), &goal).unwrap();
        let difference = largest_difference(&values(found.clone()), &stored(name));
        println!("{name}: {difference}");
        assert!(difference < 1e-4, "{name}: {difference}");
        if candidates == 10 && norm == Norm::L2 {
            // torchattacks overshoots every step: its changes are a little longer.
            let theirs = stored(&format!("deepfool_torchattacks_norm_{classes}"));
            let ours = norms(norm, found, images(classes, 8));
            let ratio = median(&ours) / median(&theirs);
            println!("to torchattacks {ratio}: {ours:?} {theirs:?}");
            assert!((0.95..1.01).contains(&ratio), "{ratio}");
        }
    }
}

#[test]
fn jsma_is_torchattacks_image_for_image() {
    for (classes, theta, name) in
        [(2, 1.0, "jsma_2"), (2, -1.0, "jsma_darker_2"), (4, 1.0, "jsma_4"), (4, -1.0, "jsma_darker_4")]
    {
        let victim = victim::victim(classes);
        let goal = Goal::targeted(targets(classes, 8));
        let attack = Jsma::new().with_theta(theta);
        let found = values(attack.perturb(&victim, images(classes, 8), &goal).unwrap());
        let theirs: Vec<f32> = stored(name).into_iter().map(|level| level / 255.0).collect();
        let shown = TensorData::new(theirs.clone(), [8, 3, 16, 16]);
        let reached = goal.reached(victim.logits(Tensor::from_data(shown, &Device::default())));
        assert!(reached.iter().filter(|r| **r).count() >= 5, "{name}: a reference that fails proves little");
        let originals = values(images(classes, 8));
        for (image, reached) in reached.iter().enumerate() {
            let range = image * SIZE..(image + 1) * SIZE;
            let expected = if *reached { &theirs[range.clone()] } else { &originals[range.clone()] };
            let difference = largest_difference(&found[range], expected);
            assert!(difference < 1e-4, "{name}: image {image} differs by {difference}");
        }
    }
}

#[test]
fn carlini_wagner_is_foolboxes_image_for_image() {
    let victim = victim::victim(4);
    let attack = CarliniWagner::new().with_search_steps(5).with_steps(40).with_initial_constant(0.1);
    let (away, towards) = (Goal::untargeted(labels(4, 4)), Goal::targeted(targets(4, 4)));
    for (attack, goal, name) in
        [(attack, away, "cw_away"), (attack.with_confidence(0.5), towards, "cw_towards")]
    {
        let found = attack.perturb(&victim, images(4, 4), &goal).unwrap();
        let difference = largest_difference(&values(found), &stored(name));
        println!("{name}: {difference}");
        assert!(difference < 1e-4, "{name}: {difference}");
    }
    for classes in [2, 4] {
        let goal = Goal::untargeted(labels(classes, 8));
        let found = attack.perturb(&victim::victim(classes), images(classes, 8), &goal).unwrap();
        let ours = norms(Norm::L2, found, images(classes, 8));
        let theirs = stored(&format!("cw_norm_{classes}"));
        println!("{ours:?} {theirs:?}");
        assert!(ours.iter().zip(theirs).all(|(ours, theirs)| (ours / theirs - 1.0).abs() < 0.01));
    }
}
