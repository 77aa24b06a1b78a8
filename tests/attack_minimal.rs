//! The attacks that look for the smallest change against torchattacks, foolbox and scipy.

mod victim;

use burn::tensor::{Device, Tensor, TensorData};
use histoguard::attack::Aim;
use histoguard::classifier::Queries;
use histoguard::prelude::*;
use victim::{golden, largest_difference, values};

const SIZE: usize = 3 * 16 * 16;

fn images(classes: usize, count: usize) -> Tensor<4> {
    victim::images(classes).narrow(0, 0, count)
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
fn minimal_fgsm_falls_where_foolbox_does() {
    let victim = victim::victim(4);
    for (name, norm, most) in [
        ("linf", Norm::Linf, 16.0 / 255.0),
        ("l2", Norm::L2, 2.0),
        ("l1", Norm::L1, 40.0),
        ("linf_targeted", Norm::Linf, 16.0 / 255.0),
    ] {
        let goal = goal(name.ends_with("_targeted"), 32);
        let first: Vec<f32> = golden("iterative", &format!("minimal_{name}.first")).try_into_vec().unwrap();
        let attack = MinimalFgsm::new().with_grid(256).at(Budget::new(norm, Epsilon::unit(most)));
        let result = attack.perturb(&victim, images(4, 32), &goal).unwrap();
        let reached = goal.reached(victim.logits(result.clone()));
        let change = result - images(4, 32);
        let untouched = values(change.clone()) == vec![0.0; 32 * SIZE];
        assert!(!untouched && first.contains(&-1.0));
        // Clipping only shortens L2 and L1 steps; the L-infinity one is met by some pixel.
        for (image, length) in values(norm.measure(change)).into_iter().enumerate() {
            let (steps, length) = (f64::from(first[image]), f64::from(length) * 256.0 / most);
            if steps == -2.0 {
                continue;
            }
            if steps < 0.0 {
                assert!(length == 0.0 && !reached[image], "{name}: image {image} falls at {length} steps");
                continue;
            }
            assert!(reached[image], "{name}: image {image} does not fall");
            assert!(length <= steps * 1.00001, "{name}: image {image} falls at {length}, theirs {steps}");
            let whole = norm == Norm::Linf;
            assert!(!whole || length > (steps - 1.0) * 0.99999, "{name}: image {image} falls at {length}");
        }
    }
}

#[test]
fn minimal_fgsm_finds_the_threshold_and_no_more_than_asked() {
    let device = Device::default();
    // Wrong between 0.3 and 0.4 and below 0.1: the first success is an island.
    let victim = Frozen::from_fn(2, &device, |x| {
        let mean: Tensor<2> = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
        let island = mean.clone().greater_elem(0.3).bool_and(mean.clone().lower_elem(0.4));
        let wrong = island.bool_or(mean.clone().lower_elem(0.1)).float() * 2.0 - 1.0;
        Tensor::cat(vec![wrong.clone(), mean * 1e-3 - wrong], 1)
    });
    let goal = Goal::untargeted([1, 1, 1, 0]);
    // The last one is wrong already.
    let images = Tensor::<1>::from_floats([0.7f32, 0.45, 0.2, 0.7], &device).reshape([4, 1, 1, 1]);
    let search = MinimalFgsm::new().with_grid(50).with_bisections(16);
    let result = values(search.perturb(&victim, images.clone(), &goal).unwrap());
    for (found, expected) in result.iter().zip([0.4, 0.4, 0.1, 0.7]) {
        assert!((found - expected).abs() < 1e-5, "{result:?}");
    }
    // 15, 3 and 6 points of the grid, at most, and 16 bisections each.
    let queries = victim.watch().queries();
    assert_eq!(queries.gradients, 4);
    assert!((3 * 16 + 15 + 3 + 5..=3 * 16 + 16 + 4 + 6).contains(&queries.forwards), "{queries:?}");
    let within = search.at(Budget::linf(Epsilon::unit(0.2)));
    let within = values(within.perturb(&victim, images, &goal).unwrap());
    assert!(within[0] == 0.7 && (within[1] - 0.4).abs() < 1e-5 && (within[2] - 0.1).abs() < 1e-5);
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
        assert!(difference < 1e-4, "{name}: {difference}");
        if candidates == 10 && norm == Norm::L2 {
            // torchattacks has no 1e-4 on top of each distance, and one step is enough here.
            let theirs = stored(&format!("deepfool_torchattacks_norm_{classes}"));
            let ours = norms(norm, found, images(classes, 8));
            assert!(largest_difference(&ours, &theirs) < 2e-4, "{ours:?} {theirs:?}");
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
    let attack = CarliniWagner::new().with_search_steps(6).with_steps(60).with_initial_constant(0.1);
    let (away, towards) = (Goal::untargeted(labels(4, 4)), Goal::targeted(targets(4, 4)));
    for (attack, goal, name) in
        [(attack, away, "cw_away"), (attack.with_confidence(0.5), towards, "cw_towards")]
    {
        let found = attack.perturb(&victim, images(4, 4), &goal).unwrap();
        let difference = largest_difference(&values(found), &stored(name));
        assert!(difference < 1e-4, "{name}: {difference}");
    }
}

fn within_one_percent(ours: &[f32], theirs: &[f32]) {
    let close = |(ours, theirs): (&f32, &f32)| (ours / theirs - 1.0).abs() < 0.01;
    assert!(ours.len() == theirs.len() && ours.iter().zip(theirs).all(close), "{ours:?} {theirs:?}");
}

#[test]
fn carlini_wagner_linf_is_the_authors() {
    for classes in [2, 4] {
        let attack = CarliniWagnerLinf::new()
            .with_steps(40)
            .with_learning_rate(0.01)
            .with_initial_constant(0.1)
            .with_decrease_factor(0.8);
        let goal = Goal::untargeted(labels(classes, 4));
        let found = attack.perturb(&victim::victim(classes), images(classes, 4), &goal).unwrap();
        let ours = norms(Norm::Linf, found, images(classes, 4));
        within_one_percent(&ours, &stored(&format!("cw_linf_norm_{classes}")));
    }
}

#[test]
fn ead_is_foolboxes_image_for_image() {
    let victim = victim::victim(4);
    let attack = Ead::new().with_search_steps(6).with_steps(60).with_initial_constant(0.1);
    let (away, towards) = (Goal::untargeted(labels(4, 4)), Goal::targeted(targets(4, 4)));
    let l1 = attack.with_decision_rule(DecisionRule::L1).with_confidence(0.5);
    for (attack, goal, name) in [(attack, away, "ead_en"), (l1, towards, "ead_l1")] {
        let found = attack.perturb(&victim, images(4, 4), &goal).unwrap();
        let difference = largest_difference(&values(found), &stored(name));
        assert!(difference < 1e-4, "{name}: {difference}");
    }
}

#[test]
fn lbfgs_finds_what_scipys_finds() {
    for classes in [2, 4] {
        let attack = Lbfgs::new().with_iterations(100);
        let goal = Goal::targeted(targets(classes, 4));
        let victim = victim::victim(classes);
        let found = attack.perturb(&victim, images(classes, 4), &goal).unwrap();
        let ours = norms(Norm::L2, found, images(classes, 4));
        within_one_percent(&ours, &stored(&format!("lbfgs_norm_{classes}")));
    }
}

/// Every attack here, quick, and whether it goes towards a target.
fn attacks() -> Vec<(Box<dyn Attack>, bool)> {
    vec![
        (Box::new(MinimalFgsm::new().with_grid(30)), false),
        (Box::new(DeepFool::new()), false),
        (Box::new(DeepFool::new().with_norm(Norm::Linf)), false),
        (Box::new(Jsma::new()), true),
        (Box::new(Fmn::new(Norm::Linf).with_steps(15)), false),
        (Box::new(Fmn::new(Norm::L2).with_steps(15)), true),
        (Box::new(Fmn::new(Norm::L1).with_steps(15)), false),
        (Box::new(Fmn::new(Norm::L0).with_steps(15)), false),
        (Box::new(Ddn::new().with_steps(15)), false),
        (Box::new(Ddn::new().with_steps(15).with_levels(None)), true),
        (Box::new(SigmaZero::new().with_steps(30)), false),
        (Box::new(SigmaZero::new().with_steps(30)), true),
        (
            Box::new(CarliniWagner::new().with_search_steps(3).with_steps(20).with_initial_constant(1.0)),
            false,
        ),
        (
            Box::new(
                CarliniWagnerLinf::new().with_steps(10).with_initial_constant(0.1).with_constant_factor(4.0),
            ),
            true,
        ),
        (Box::new(Ead::new().with_search_steps(3).with_steps(20).with_initial_constant(1.0)), false),
        (Box::new(Lbfgs::new().with_iterations(20).with_initial_constant(1.0).with_search_steps(2)), true),
    ]
}

fn goal(towards: bool, count: usize) -> Goal {
    match towards {
        true => Goal::targeted(targets(4, count)),
        false => Goal::untargeted(labels(4, count)),
    }
}

#[test]
fn an_image_does_not_depend_on_its_batch() {
    let victim = victim::victim(4);
    for (attack, towards) in attacks() {
        let goal = goal(towards, 6);
        let together = values(attack.perturb(&victim, images(4, 6), &goal).unwrap());
        assert!(together.iter().all(|v| (0.0..=1.0).contains(v)));
        for image in 0..6 {
            let before = victim.watch().queries();
            let alone = images(4, 6).narrow(0, image, 1);
            let alone = values(attack.perturb(&victim, alone, &goal.select(&[image])).unwrap());
            let difference = largest_difference(&alone, &together[image * SIZE..(image + 1) * SIZE]);
            assert_eq!(difference, 0.0, "{attack:?}: image {image}");
            let spent = victim.watch().queries() - before;
            let kept = |most: Queries| spent.forwards <= most.forwards && spent.gradients <= most.gradients;
            assert!(attack.profile().queries.is_none_or(kept), "{attack:?}: {spent:?}");
        }
    }
}

#[test]
fn a_nan_stays_with_its_own_image() {
    let (victim, blinded) = (victim::victim(4), victim::blinded(victim::victim(4)));
    for (attack, towards) in attacks() {
        let goal = goal(towards, 3);
        let clean = values(attack.perturb(&victim, images(4, 3), &goal).unwrap());
        let spoiled = victim::whitened(images(4, 3), 1);
        let found = values(attack.perturb(&blinded, spoiled, &goal).unwrap());
        for image in [0, 2] {
            let range = image * SIZE..(image + 1) * SIZE;
            let difference = largest_difference(&found[range.clone()], &clean[range]);
            assert_eq!(difference, 0.0, "{attack:?}: image {image}");
        }
        assert!(found.iter().all(|value| (0.0..=1.0).contains(value)), "{attack:?}");
    }
}

#[test]
fn a_goal_reached_from_the_start_costs_one_look() {
    let victim = victim::victim(4);
    for (attack, towards) in attacks() {
        let before = victim.watch().queries();
        let reached = match towards {
            true => Goal::targeted(labels(4, 3)),
            false => Goal::untargeted(targets(4, 3)),
        };
        let found = values(attack.perturb(&victim, images(4, 3), &reached).unwrap());
        assert_eq!(found, values(images(4, 3)), "{attack:?}");
        let spent = victim.watch().queries() - before;
        assert_eq!(spent.forwards + spent.gradients, 3, "{attack:?}: {spent:?}");
    }
}

#[test]
fn what_is_over_the_limit_comes_back_as_it_was() {
    let victim = victim::victim(4);
    for (attack, towards) in attacks() {
        let norm = attack.profile().norm().unwrap();
        let free = attack.perturb(&victim, images(4, 6), &goal(towards, 6)).unwrap();
        let sizes = norms(norm, free, images(4, 6));
        let limit = f64::from(median(&sizes));
        let bounded = attack.at(Budget::new(norm, Epsilon::unit(limit)));
        assert_eq!(
            bounded.profile().aim,
            Aim::Smallest { norm, limit: Some(Budget::new(norm, Epsilon::unit(limit))) }
        );
        let within = bounded.perturb(&victim, images(4, 6), &goal(towards, 6)).unwrap();
        let within_sizes = norms(norm, within.clone(), images(4, 6));
        let reached = goal(towards, 6).reached(victim.logits(within));
        for image in 0..6 {
            assert_eq!(reached[image], within_sizes[image] > 0.0, "{attack:?}: image {image}");
            // A step to the very limit is as long as rounded pixels let it be.
            assert!(f64::from(within_sizes[image]) <= limit * 1.00001, "{attack:?}: image {image}");
            // The limit is where the smallest FGSM's grid ends: another one has other points.
            let fits = sizes[image] > 0.0 && f64::from(sizes[image]) <= limit;
            assert!(
                reached[image] || !fits || attack.profile().name == "Minimal FGSM",
                "{attack:?}: image {image}"
            );
        }
    }
}

#[test]
fn bad_parameters_are_refused_before_any_work() {
    let victim = victim::victim(4);
    let refused = |attack: &dyn Attack, goal: &Goal, name: &str| {
        let error = attack.perturb(&victim, images(4, 2), goal).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}: expected ")), "{name}: {error}");
    };
    let (away, towards) = (goal(false, 2), goal(true, 2));
    for (attack, is_towards) in attacks() {
        let goal = if is_towards { &towards } else { &away };
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            refused(
                &*attack.at(Budget::new(attack.profile().norm().unwrap(), Epsilon::unit(bad))),
                goal,
                "limit",
            );
        }
        let outside = images(4, 2) * 2.0;
        let error = attack.perturb(&victim, outside, goal).unwrap_err();
        assert!(matches!(error, AttackError::ImageRange { .. }), "{attack:?}: {error}");
    }
    refused(&*CarliniWagner::new().at(Budget::pixels(1.0)), &away, "limit");
    refused(&*DeepFool::new().at(Budget::l1(1.0)), &away, "norm");
    refused(&MinimalFgsm::new().with_grid(0), &away, "grid");
    refused(&MinimalFgsm::new().with_norm(Norm::L0), &away, "norm");
    refused(&DeepFool::new(), &towards, "goal");
    refused(&DeepFool::new().with_norm(Norm::L1), &away, "norm");
    refused(&DeepFool::new().with_steps(0), &away, "steps");
    refused(&DeepFool::new().with_overshoot(-0.1), &away, "overshoot");
    refused(&DeepFool::new().with_candidates(1), &away, "candidates");
    refused(&Jsma::new(), &away, "goal");
    for theta in [0.0, 1.1, f64::NAN] {
        refused(&Jsma::new().with_theta(theta), &towards, "theta");
    }
    for gamma in [0.0, 1.1, f64::NAN] {
        refused(&Jsma::new().with_gamma(gamma), &towards, "gamma");
    }
    let cw = CarliniWagner::new();
    refused(&cw.with_confidence(-1.0), &away, "confidence");
    refused(&cw.with_search_steps(0), &away, "search steps");
    refused(&cw.with_steps(0), &away, "steps");
    refused(&cw.with_learning_rate(0.0), &away, "learning rate");
    refused(&cw.with_initial_constant(f64::INFINITY), &away, "initial constant");
    let linf = CarliniWagnerLinf::new();
    refused(&linf.with_confidence(f64::NAN), &away, "confidence");
    refused(&linf.with_steps(0), &away, "steps");
    refused(&linf.with_learning_rate(-0.1), &away, "learning rate");
    refused(&linf.with_initial_constant(0.0), &away, "initial constant");
    refused(&linf.with_constant_factor(1.0), &away, "constant factor");
    refused(&linf.with_initial_constant(0.1).with_largest_constant(0.05), &away, "largest constant");
    refused(&linf.with_decrease_factor(1.0), &away, "decrease factor");
    let ead = Ead::new();
    refused(&ead.with_beta(-0.1), &away, "beta");
    refused(&ead.with_confidence(-0.1), &away, "confidence");
    refused(&ead.with_search_steps(0), &away, "search steps");
    refused(&ead.with_steps(0), &away, "steps");
    refused(&ead.with_learning_rate(0.0), &away, "learning rate");
    refused(&ead.with_initial_constant(0.0), &away, "initial constant");
    let lbfgs = Lbfgs::new();
    refused(&lbfgs, &away, "goal");
    refused(&lbfgs.with_search_steps(0), &towards, "search steps");
    refused(&lbfgs.with_iterations(0), &towards, "iterations");
    refused(&lbfgs.with_initial_constant(f64::NAN), &towards, "initial constant");
    let fmn = Fmn::new(Norm::L2);
    refused(&fmn.with_steps(0), &away, "steps");
    refused(&fmn.with_alpha_init(0.0), &away, "alpha init");
    refused(&fmn.with_alpha_init(f64::NAN), &away, "alpha init");
    refused(&fmn.with_alpha_final(Some(-0.1)), &away, "alpha final");
    refused(&fmn.with_gamma_init(1.1), &away, "gamma init");
    refused(&fmn.with_gamma_final(f64::NAN), &away, "gamma final");
    refused(&*Ddn::new().at(Budget::pixels(1.0)), &away, "limit");
    refused(&Ddn::new().with_steps(0), &away, "steps");
    refused(&Ddn::new().with_gamma(-0.1), &away, "gamma");
    refused(&Ddn::new().with_init_norm(0.0), &away, "init norm");
    refused(&Ddn::new().with_levels(Some(1)), &away, "levels");
    let sigma_zero = SigmaZero::new();
    refused(&*sigma_zero.at(Budget::l2(1.0)), &away, "limit");
    refused(&sigma_zero.with_steps(0), &away, "steps");
    refused(&sigma_zero.with_eta_0(f64::INFINITY), &away, "eta 0");
    refused(&sigma_zero.with_sigma(0.0), &away, "sigma");
    refused(&sigma_zero.with_tau_0(1.1), &away, "tau 0");
    refused(&sigma_zero.with_tau_factor(f64::NAN), &away, "tau factor");
    refused(&sigma_zero.with_grad_norm(Norm::L0), &away, "grad norm");
    assert_eq!(victim.watch().queries(), Queries::NONE);
}

#[test]
fn a_stop_is_obeyed_on_the_way() {
    for (attack, towards) in attacks() {
        let victim = victim::victim(4);
        let watch = victim.watch().clone();
        victim.watch().on_step(move |step| {
            assert!(step.done < step.total || step.total == 0, "{step:?}");
            if step.done == 1 {
                watch.stop();
            }
        });
        let stopped = attack.perturb(&victim, images(4, 4), &goal(towards, 4));
        assert_eq!(stopped.unwrap_err(), AttackError::Stopped, "{attack:?}");
    }
}
