//! Ensembles and randomised classifiers as victims, against torchattacks on the same averages.

mod iterative;
mod victim;

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor};
use histoguard::classifier::Average;
use histoguard::prelude::*;
use iterative::{assert_equal_on, pick, pixels};
use victim::{Victim, images, labels, largest_difference, values};

/// The views of `golden/attacks/ensemble.py`.
fn view(network: &Victim, images: Tensor<4>, number: usize) -> Tensor<2> {
    network.logits(if number == 0 { images } else { images * 0.7 + 0.12 })
}

fn member(number: usize) -> Frozen {
    let network = Victim::trained(4, &Device::default());
    Frozen::from_fn(4, &Device::default(), move |x| view(&network, x, number))
}

/// Shows one view and the other in turn.
fn alternating() -> Frozen {
    let (network, calls) = (Victim::trained(4, &Device::default()), AtomicUsize::new(0));
    let next = move |x| view(&network, x, calls.fetch_add(1, Ordering::Relaxed) % 2);
    Frozen::from_fn(4, &Device::default(), next)
}

fn attack() -> Pgd {
    let pgd = Pgd::new(Budget::pixels(8.0)).with_step_size(Some(pixels(2.0))).with_steps(6);
    pgd.with_random_start(false).with_early_stop(false)
}

#[test]
fn attacks_on_averages_equal_torchattacks_image_for_image() {
    let cases = [
        ("logits", Average::Logits),
        ("probabilities", Average::Probabilities),
        ("losses", Average::Losses),
        ("losses_targeted", Average::Losses),
    ];
    for (name, average) in cases {
        assert_equal_on(&Frozen::averaged([member(0), member(1)], average), "ensemble", name, 4, &attack());
        let expectation = alternating().expectation_over(2, average);
        assert_equal_on(&expectation, "ensemble", name, 4, &attack());
    }
}

#[test]
fn predictions_are_those_of_the_mean() {
    let singles = [0, 1].map(|number| values(member(number).logits(images(4))));
    let mean: Vec<f32> = singles[0].iter().zip(&singles[1]).map(|(a, b)| (a + b) / 2.0).collect();
    for average in [Average::Logits, Average::Losses] {
        let whole = Frozen::averaged([member(0), member(1)], average);
        assert!(largest_difference(&values(whole.logits(images(4))), &mean) < 1e-4);
        let found = whole.input_gradient(images(4), |logits| logits.sum_dim(1).reshape([-1]));
        assert!(largest_difference(&values(found.logits), &mean) < 1e-4);
    }
    let softmax = |row: &[f32]| -> Vec<f64> {
        let most = row.iter().fold(f32::MIN, |m, &v| m.max(v));
        let odds: Vec<f64> = row.iter().map(|v| f64::from(v - most).exp()).collect();
        let total: f64 = odds.iter().sum();
        odds.into_iter().map(|o| o / total).collect()
    };
    let whole = values(Frozen::averaged([member(0), member(1)], Average::Probabilities).logits(images(4)));
    for ((whole, a), b) in whole.chunks(4).zip(singles[0].chunks(4)).zip(singles[1].chunks(4)) {
        let (a, b) = (softmax(a), softmax(b));
        for class in 0..4 {
            let (found, expected) = (f64::from(whole[class]).exp(), (a[class] + b[class]) / 2.0);
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

#[test]
fn certain_members_that_disagree_have_finite_logits_and_gradients() {
    let certain = |sign: f32| {
        Frozen::from_fn(2, &Device::default(), move |x| {
            let score = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) * (sign * 1e4);
            Tensor::cat(vec![score.clone().neg(), score], 1)
        })
    };
    let image = Tensor::<4>::full([1, 1, 2, 2], 0.5, &Device::default());
    let agree = Frozen::averaged([certain(1.0), certain(1.0)], Average::Probabilities);
    let found = agree.input_gradient(image.clone(), |logits| Goal::untargeted([1]).objective(logits));
    assert!(values(found.logits).iter().chain(&values(found.gradient)).all(|v| v.is_finite()));
    // Halves of probability one: the logarithm of one half for either class.
    let split = Frozen::averaged([certain(1.0), certain(-1.0)], Average::Probabilities);
    let logits = values(split.logits(image));
    assert!(logits.iter().all(|l| (l - 0.5f32.ln()).abs() < 1e-6), "{logits:?}");
}

#[test]
fn every_pass_counts() {
    let inner =
        Frozen::averaged([member(0), member(1)], Average::Logits).expectation_over(3, Average::Losses);
    let watch = inner.watch().clone();
    let eight: Vec<usize> = (0..8).collect();
    inner.logits(pick(images(4), &eight));
    assert_eq!((watch.queries().forwards, watch.queries().gradients), (48, 0));
    let whole = Frozen::averaged([inner, member(0)], Average::Probabilities);
    let goal = Goal::untargeted(labels(4)).select(&eight);
    attack().perturb(&whole, pick(images(4), &eight), &goal).unwrap();
    assert_eq!(whole.watch().queries().gradients, 6 * 8 * 7);
    assert_eq!(watch.queries().gradients, 0, "counted once, on the whole");
}

#[test]
#[should_panic(expected = "members of one number of classes")]
fn members_must_agree_on_their_classes() {
    Frozen::averaged([victim::victim(2), victim::victim(4)], Average::Logits);
}
