//! The checks on classifiers that are sound, and on ones that only look robust.

mod small;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use histoguard::classifier::FrozenFeatures;
use histoguard::evaluate::{Check, Evaluation, EvaluationResult, GradientState, Verdict};
use histoguard::prelude::*;
use small::{Plain, Search, Shade, Steps, bright, by_brightness, linf};

fn check<'r>(result: &'r EvaluationResult, name: &str) -> &'r Check {
    result.checks.iter().find(|c| c.name == name).unwrap_or_else(|| panic!("no check {name:?}"))
}

fn verdict(result: &EvaluationResult, name: &str) -> Verdict {
    check(result, name).verdict
}

fn suspicious(result: &EvaluationResult) -> Vec<&str> {
    let found = result.checks.iter().filter(|c| c.verdict == Verdict::Suspicious);
    found.map(|c| c.name.as_str()).collect()
}

fn evaluation(victim: &Frozen) -> Evaluation<'_> {
    Evaluation::new(victim)
        .attack(Fgsm::new(Budget::pixels(0.0)))
        .attack(Steps::new(10))
        .attack(Shade::new(None))
        .budgets([0.07, 0.12, 0.22].map(linf))
        .training_groups(["another slide".to_string()])
}

#[test]
fn a_sound_evaluation_passes_every_check() {
    let result = evaluation(&bright()).run(&Plain::eight()).unwrap();
    assert_eq!(result.checks.len(), 17);
    for check in &result.checks {
        // Ten steps are too few to see the last ten settle; no substitute, no features and no stain are at hand.
        let lacks = [
            "incomplete optimization",
            "transfer failure",
            "binarization test",
            "grid better than gradients",
            "a wider range breaks fewer",
        ];
        let expected =
            if lacks.contains(&check.name.as_str()) { Verdict::NotApplicable } else { Verdict::Passed };
        assert_eq!(check.verdict, expected, "{check:?}");
        assert!(!check.seen.is_empty() && !check.matters.is_empty() && !check.source.is_empty());
    }
    let unbounded = check(&result, "survives an unbounded attack");
    assert_eq!(unbounded.seen, "0 of 6 images survive steps with the whole of [0,1] as their budget");
}

/// Rounded to a thousandth, the brightness has no slope: the classifier is the same, its gradients are
/// masked.
#[test]
fn masked_gradients_are_seen_through() {
    let victim = by_brightness(|mean| ((mean * 1000.0).round() / 1000.0 - 0.5) * 10.0);
    let result = evaluation(&victim).run(&Plain::eight()).unwrap();
    let hits = |attack: usize| result.attacks[attack].sweep[2].metrics.accuracy.hits;
    // It looks robust to whoever follows gradients, and is not.
    assert_eq!((hits(0), hits(1), hits(2)), (6, 6, 2));
    assert_eq!(
        suspicious(&result),
        ["vanishing gradients", "survives an unbounded attack", "black box better than white box"]
    );
    assert!(check(&result, "vanishing gradients").seen.contains("zero at 6 and not finite at 0 of 6"));
    let black = check(&result, "black box better than white box");
    assert!(black.seen.contains("leaves 2 images right and the stronger 6; 4 fall to"), "{}", black.seen);
    assert!(check(&result, "survives an unbounded attack").seen.starts_with("6 of 6"));
    // The same if the black box had only the survivors.
    let result = evaluation(&victim).only_survivors(true).run(&Plain::eight()).unwrap();
    assert_eq!(verdict(&result, "black box better than white box"), Verdict::Suspicious);
    let result = evaluation(&bright()).only_survivors(true).run(&Plain::eight()).unwrap();
    assert_eq!(suspicious(&result), Vec::<&str>::new());
}

#[test]
fn gradients_that_are_not_finite_are_flagged() {
    // The square root's slope is infinite at 0.9, times the zero slope of |x| there.
    let victim = Frozen::from_fn(2, &Device::default(), |x| {
        let mean = x.clone().mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
        let bright = mean + (x - 0.9).abs().sqrt().mean_dims(&[1, 2, 3]).reshape([-1, 1]) * 0.001;
        Tensor::cat(vec![bright.clone().neg(), bright], 1)
    });
    let result = evaluation(&victim).check_images(0).run(&Plain::eight()).unwrap();
    assert!(check(&result, "vanishing gradients").seen.contains("not finite at 1 of 6"));
    assert_eq!(verdict(&result, "vanishing gradients"), Verdict::Suspicious);
    assert_eq!((result.clean.non_finite_gradients, result.clean.zero_gradients), (1, 0));
    assert_eq!(result.records[7].gradient, GradientState::NotFinite);
}

#[test]
fn random_answers_are_noticed() {
    let calls = AtomicU32::new(1);
    let victim = Frozen::from_fn(2, &Device::default(), move |x| {
        let call = f64::from(calls.fetch_add(1, Ordering::Relaxed)) * 0.001;
        let bright = (x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5) * 10.0;
        Tensor::cat(vec![bright.clone().neg(), bright + call], 1)
    });
    let result = evaluation(&victim).run(&Plain::eight()).unwrap();
    assert_eq!(verdict(&result, "random answers"), Verdict::Suspicious);
    assert!(check(&result, "random answers").seen.contains("of 8 images differ by up to 1.0"));
    let result = evaluation(&victim).check_images(0).run(&Plain::eight()).unwrap();
    assert_eq!(verdict(&result, "random answers"), Verdict::NotApplicable);
}

#[test]
fn probabilities_are_told_from_logits() {
    let victim = Frozen::from_fn(2, &Device::default(), |x| {
        let bright = (x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5) * 10.0;
        burn::tensor::activation::softmax(Tensor::cat(vec![bright.clone().neg(), bright], 1), 1)
    });
    let result = evaluation(&victim).run(&Plain::eight()).unwrap();
    assert_eq!(suspicious(&result), ["probabilities for logits"]);
    let seen = &check(&result, "probabilities for logits").seen;
    assert_eq!(seen, "the scores of all of 8 images are between 0 and 1 with sum 1");
}

#[test]
fn a_rise_with_epsilon_is_told() {
    // Class 1 outside of a band around 0.5: a large single step comes out on the other side.
    let victim = by_brightness(|mean| ((mean - 0.5).square() - 0.01) * 100.0);
    let data = Plain::new(&[0.65, 0.63], &[1, 1]);
    let sweep = [0.02, 0.1, 0.3].map(linf);
    let result = Evaluation::new(&victim)
        .attack(Fgsm::new(Budget::pixels(0.0)))
        .attack(Steps::new(10))
        .budgets(sweep)
        .run(&data)
        .unwrap();
    let rise = check(&result, "accuracy rises with epsilon");
    assert_eq!(rise.verdict, Verdict::Suspicious);
    assert_eq!(rise.seen, "FGSM: 0 images are right at epsilon 25.5/255, and 2 at 76.5/255");
}

#[test]
fn steps_that_get_stuck_are_told_from_one_that_does_not() {
    // Waves on the slope: the boundary is still at 0.5, but small steps run back and forth in a trough.
    let victim = by_brightness(|mean| {
        let far = mean - 0.5;
        far.clone() + (far * 80.0).sin() * 0.04
    });
    // At 0.15 the slope is 1 + 3.2 cos(12) > 0, at 0.12 it is 1 + 3.2 cos(9.6) < 0.
    let data = Plain::new(&[0.65, 0.65, 0.65], &[1, 1, 1]);
    let stuck = Steps { size: Some(0.03), ..Steps::new(10) };
    let result = Evaluation::new(&victim)
        .attack(Fgsm::new(Budget::pixels(0.0)))
        .attack(stuck)
        .budgets([linf(0.3)])
        .run(&data)
        .unwrap();
    let one = check(&result, "one step better than many");
    assert_eq!(one.verdict, Verdict::Suspicious);
    assert!(one.seen.contains("leaves 0 images right and the stronger 3"), "{}", one.seen);
    assert_eq!(verdict(&result, "accuracy rises with epsilon"), Verdict::NotApplicable);
}

#[test]
fn an_attack_that_has_not_converged_is_told() {
    let victim = bright();
    // Five steps of 0.02 reach 0.1 of a budget of 0.3; ten reach 0.2.
    let short = Steps { size: Some(0.02), ..Steps::new(5) };
    let result = Evaluation::new(&victim).attack(short).budgets([linf(0.3)]).run(&Plain::eight()).unwrap();
    let effort = check(&result, "more effort still helps");
    assert_eq!(effort.verdict, Verdict::Suspicious);
    // 0.05 away falls to the short one; 0.1 (by rounding), 0.15 and 0.2 are for the longer one to reach.
    let gained: usize = effort.seen.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((2..=3).contains(&gained), "{}", effort.seen);
}

#[test]
fn slides_of_the_training_set_are_counted() {
    let victim = bright();
    let run = |training: &[&str]| {
        let training = training.iter().map(|slide| slide.to_string());
        evaluation(&victim).training_groups(training).run(&Plain::eight()).unwrap()
    };
    let result = run(&["slide 1", "slide 3", "slide 9"]);
    let shared = check(&result, "shared slides");
    assert_eq!(shared.verdict, Verdict::Suspicious);
    assert_eq!(shared.seen, "2 of 4 test slides, with 4 of 8 test images, have training images too");
    assert_eq!(verdict(&run(&["slide 9"]), "shared slides"), Verdict::Passed);
}

#[test]
fn what_an_evaluation_lacks_is_said() {
    let victim = bright();
    let result = Evaluation::new(&victim).run(&Plain::eight()).unwrap();
    for check in result
        .checks
        .iter()
        .filter(|c| !["random answers", "probabilities for logits"].contains(&c.name.as_str()))
    {
        assert_eq!(check.verdict, Verdict::NotApplicable, "{check:?}");
    }
    // A search for the smallest perturbation is an unbounded attack.
    let result = Evaluation::new(&victim).attack(Search::default()).run(&Plain::eight()).unwrap();
    assert_eq!(verdict(&result, "survives an unbounded attack"), Verdict::Passed);
}

#[test]
fn an_adversarial_point_that_is_not_returned_is_told() {
    // Class 0 within 0.02 of 0.5: steps of 0.06 from 0.63 are at 0.57, 0.51, 0.45, 0.51 and, in the end, 0.45.
    let victim = by_brightness(|mean| ((mean - 0.5).square() - 0.0004) * 100.0);
    let data = Plain::new(&[0.63], &[1]);
    let run = |steps: usize| {
        let attack = Steps { size: Some(0.06), ..Steps::new(steps) };
        Evaluation::new(&victim).attack(attack).budgets([linf(0.3)]).run(&data).unwrap()
    };
    let result = run(5);
    let silent = check(&result, "silent success");
    assert_eq!(silent.verdict, Verdict::Suspicious);
    assert!(silent.seen.contains("1 of 1 images that it left had an adversarial point"), "{}", silent.seen);
    // One step has no path, and two return the point itself.
    assert_eq!(verdict(&run(1), "silent success"), Verdict::NotApplicable);
    assert_eq!(verdict(&run(2), "silent success"), Verdict::NotApplicable);
}

#[test]
fn a_path_that_still_climbs_is_told() {
    let victim = bright();
    let data = Plain::new(&[0.9, 0.95], &[1, 1]);
    let run = |size: f64| {
        let attack = Steps { size: Some(size), ..Steps::new(40) };
        Evaluation::new(&victim).attack(attack).budgets([linf(0.1)]).run(&data).unwrap()
    };
    // The last ten of 40 steps go a quarter of the way; steps of 0.01 are at the border after ten.
    let incomplete = run(0.001);
    assert_eq!(verdict(&incomplete, "incomplete optimization"), Verdict::Suspicious);
    assert!(check(&incomplete, "incomplete optimization").seen.contains("2 of 2 images that it left"));
    assert_eq!(verdict(&run(0.01), "incomplete optimization"), Verdict::Passed);
}

#[test]
fn a_substitute_that_falls_alone_is_told() {
    let victim = bright();
    let data = Plain::new(&[0.6], &[1]);
    let substitute = by_brightness(|mean| (mean - 0.58) * 10.0);
    let transfer = Transfer::new(Fgsm::new(linf(0.05)), "a higher threshold", substitute);
    let result = Evaluation::new(&victim).attack(transfer).run(&data).unwrap();
    let failure = check(&result, "transfer failure");
    assert_eq!(failure.verdict, Verdict::Suspicious);
    assert!(
        failure.seen.contains("1 of 1 images fool the substitute and not the classifier"),
        "{}",
        failure.seen
    );
    // A white box besides speaks for the classifier itself.
    let substitute = by_brightness(|mean| (mean - 0.58) * 10.0);
    let transfer = Transfer::new(Fgsm::new(linf(0.05)), "a higher threshold", substitute);
    let besides = Evaluation::new(&victim).attack(transfer).attack(Steps::new(10)).budgets([linf(0.05)]);
    assert_eq!(verdict(&besides.run(&data).unwrap(), "transfer failure"), Verdict::Passed);
}

#[test]
fn successes_that_a_file_does_not_hold_are_counted() {
    let victim = by_brightness(|mean| (mean - 127.7 / 255.0) * 1000.0);
    let data = Plain::new(&[128.0 / 255.0], &[1]);
    let run = |levels| Evaluation::new(&victim).attack(Fgsm::new(Budget::pixels(levels))).run(&data).unwrap();
    let lost = run(0.4);
    let small = check(&lost, "changes below half a grey level");
    assert_eq!(small.verdict, Verdict::Suspicious);
    assert!(small.seen.ends_with("0 of 1 successes survive rounding to 8 bits"), "{}", small.seen);
    let kept = run(2.0);
    let large = check(&kept, "changes below half a grey level");
    assert_eq!(large.verdict, Verdict::Passed);
    assert!(large.seen.ends_with("1 of 1 successes survive rounding to 8 bits"), "{}", large.seen);
}

#[test]
fn predictions_that_noise_changes_are_told() {
    // At 0.5 the sine is -0.3; thousands of waves lie within the budget.
    let victim = Frozen::from_fn(2, &Device::default(), |x| {
        let [count, ..] = x.dims();
        let score = (x.narrow(1, 0, 1).narrow(2, 0, 1).narrow(3, 0, 1) * 20_000.0).sin().reshape([count, 1]);
        Tensor::cat(vec![score.clone().neg(), score], 1)
    });
    let data = Plain::new(&[0.5], &[0]);
    let run = |attack: Box<dyn Attack>| {
        Evaluation::new(&victim).attacks([attack]).budgets([linf(0.1)]).run(&data).unwrap()
    };
    let result = run(Box::new(Steps::new(3)));
    assert_eq!(verdict(&result, "unstable predictions"), Verdict::Suspicious);
    // 100 draws change the margin by more than itself on average, which counts as 1.
    assert!(check(&result, "unstable predictions").seen.ends_with("by 100.0 % on average"));
    // A single step does not go astray.
    let single = run(Box::new(Fgsm::new(linf(0.1))));
    assert_eq!(verdict(&single, "unstable predictions"), Verdict::NotApplicable);
}

#[test]
fn checks_are_the_same_in_any_batch_and_after_stops() {
    let (victim, data) = (bright(), Plain::eight());
    let features = FrozenFeatures::from_fn(
        2,
        &Device::default(),
        |x| x.mean_dims(&[2, 3]).reshape([-1, 3]),
        |means: Tensor<2>| {
            let score = (means.mean_dim(1) - 0.5) * 10.0;
            Tensor::cat(vec![score.clone().neg(), score], 1)
        },
    );
    let folder = tempfile::tempdir().unwrap();
    let run = |batch: usize, stop_at: usize| {
        let flag = AtomicBool::new(false);
        let substitute = by_brightness(|mean| (mean - 0.52) * 10.0);
        let stop = |done: usize| flag.store(done >= stop_at, Ordering::Relaxed);
        let evaluation = Evaluation::new(&victim)
            .attack(Steps::new(20))
            .attack(Transfer::new(Fgsm::new(linf(0.0)), "a higher threshold", substitute))
            .budgets([0.07, 0.12].map(linf))
            .features(&features)
            .batch_size(batch)
            .on_progress(|progress| stop(progress.done))
            .cancel_with(&flag);
        match stop_at {
            usize::MAX if batch != 4 => evaluation.run(&data),
            _ => evaluation.resume_from(folder.path().join("state")).run(&data),
        }
    };
    let whole = run(8, usize::MAX).unwrap();
    let applied = whole.checks.iter().filter(|c| c.verdict != Verdict::NotApplicable).count();
    assert_eq!(applied, 13, "{:?}", whole.checks);
    assert_eq!(run(1, usize::MAX).unwrap().checks, whole.checks);
    // The plan takes 8 x 5 passes; everything beyond is the checks' own.
    for stop_at in [42, 55, 63, 71] {
        run(3, stop_at).unwrap_err();
    }
    assert_eq!(run(4, usize::MAX).unwrap().checks, whole.checks);
    // Notes of other features are none of these.
    let other = FrozenFeatures::logits_of(bright());
    let kept = |features| {
        let evaluation = Evaluation::new(&victim).attack(Steps::new(20)).budgets([0.12].map(linf));
        evaluation.features(features).resume_from(folder.path().join("kept")).run(&data)
    };
    kept(&features).unwrap();
    let error = kept(&other).unwrap_err();
    assert!(error.to_string().contains("the same features as in the unfinished evaluation"), "{error}");
}

#[test]
fn points_that_exist_are_found_along_gradients_and_not_without() {
    let mean = |features: Tensor<2>| {
        let bright = (features.mean_dim(1) - 0.5) * 10.0;
        Tensor::cat(vec![bright.clone().neg(), bright], 1)
    };
    let run = |round: fn(Tensor<4>) -> Tensor<4>| {
        let embed = move |images: Tensor<4>| round(images).flatten(1, 3);
        let features = FrozenFeatures::from_fn(2, &Device::default(), embed, mean);
        let victim = Frozen::from_fn(2, &Device::default(), move |images| mean(embed(images)));
        let evaluation = Evaluation::new(&victim).attack(Steps::new(10)).budgets([linf(0.1)]);
        evaluation.features(&features).run(&Plain::eight()).unwrap()
    };
    let (found, missed) = (run(|images| images), run(|images| (images * 1000.0).round() / 1000.0));
    let test = check(&found, "binarization test");
    assert_eq!(test.verdict, Verdict::Passed);
    assert!(test.seen.ends_with("finds 6 of 6 points that certainly exist"), "{}", test.seen);
    let test = check(&missed, "binarization test");
    assert_eq!(test.verdict, Verdict::Suspicious);
    assert!(test.seen.ends_with("finds 0 of 6 points that certainly exist"), "{}", test.seen);
}
