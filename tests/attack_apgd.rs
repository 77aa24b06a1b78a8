//! APGD against Croce and Hein's implementation, and what it promises for every image.

mod iterative;
mod victim;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::DType;
use histoguard::prelude::*;
use iterative::refused;
use victim::{golden, images, labels, largest_difference, right, values};

fn some(classes: usize, positions: &[usize]) -> (Tensor<4>, Vec<usize>) {
    let pick = |&p: &usize| images(classes).slice(p..p + 1);
    let all = labels(classes);
    (Tensor::cat(positions.iter().map(pick).collect(), 0), positions.iter().map(|&p| all[p]).collect())
}

/// The network in double precision, so that the signs of its gradients are the reference's.
fn double_victim(classes: usize) -> Frozen {
    struct Double;
    impl ModuleMapper for Double {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            parameter.map(|tensor| tensor.cast(DType::F64))
        }
    }
    let device = Device::default();
    let network = victim::Victim::trained(classes, &device).valid().map(&mut Double);
    Frozen::from_fn(classes, &device, move |images| network.logits(images.cast(DType::F64)))
}

/// From the images themselves: `golden/attacks/apgd.py`, `FIXED`.
#[test]
fn equals_the_reference_image_for_image() {
    let cases = [
        ("linf_ce", 4, Norm::Linf, ApgdLoss::CrossEntropy, 5.0 / 255.0, 12),
        ("l2_ce", 2, Norm::L2, ApgdLoss::CrossEntropy, 0.7, 25),
        ("linf_dlr", 4, Norm::Linf, ApgdLoss::Dlr, 7.0 / 255.0, 12),
        ("l2_dlr", 4, Norm::L2, ApgdLoss::Dlr, 0.6, 25),
        ("l1_dlr", 4, Norm::L1, ApgdLoss::Dlr, 5.0, 25),
    ];
    for (name, classes, norm, loss, epsilon, steps) in cases {
        let of = |part: &str| golden("apgd", &format!("{name}.{part}")).try_into_vec::<f32>().unwrap();
        let positions: Vec<usize> = of("images").iter().map(|&p| p as usize).collect();
        let losses = of("loss");
        let (images, labels) = some(classes, &positions);
        let attack = Apgd::new(Budget::new(norm, Epsilon::unit(epsilon)))
            .with_loss(loss)
            .with_steps(steps)
            .with_random_start(false);
        for (part, attack) in [("best", attack.with_best_loss(true)), ("first", attack)] {
            let found =
                attack.perturb(&double_victim(classes), images.clone(), &Goal::untargeted(&labels[..]));
            let (found, expected) = (values(found.unwrap()), of(part));
            let size = found.len() / labels.len();
            let differences: Vec<f32> = found
                .chunks(size)
                .zip(expected.chunks(size))
                .map(|(f, e)| largest_difference(f, e))
                .collect();
            for (image, difference) in differences.iter().enumerate() {
                // Past the boundary the DLR of a likely class is 1, wherever that is.
                if part == "first" || losses[image] < 0.99 {
                    assert!(*difference < 1e-4, "{name}.{part}: image {image} differs by {difference}");
                }
            }
        }
    }
}

/// From random starts: as many images withstand as for one of the reference's ten seeds (`RANDOM`).
#[test]
fn withstood_as_often_as_the_reference_from_random_starts() {
    let targeted = ApgdLoss::TargetedDlr { targets: 3 };
    let cases = [
        ("linf", 2, Norm::Linf, ApgdLoss::CrossEntropy, 10.0 / 255.0, 20),
        ("l2", 4, Norm::L2, ApgdLoss::Dlr, 0.9, 10),
        ("l1", 4, Norm::L1, ApgdLoss::Dlr, 8.0, 20),
        ("l1_multi", 4, Norm::L1, ApgdLoss::Dlr, 8.0, 20),
        ("targeted", 4, Norm::Linf, targeted, 9.0 / 255.0, 10),
    ];
    for (name, classes, norm, loss, epsilon, steps) in cases {
        let victim = victim::victim(classes);
        let attack = Apgd::new(Budget::new(norm, Epsilon::unit(epsilon)))
            .with_loss(loss)
            .with_steps(steps)
            .with_multi_epsilon(name == "l1_multi");
        let theirs = golden("apgd", &format!("{name}.robust")).try_into_vec::<f32>().unwrap();
        let goal = Goal::untargeted(labels(classes));
        let ours: Vec<f32> = (0..10)
            .map(|seed| {
                let found = attack.with_seed(seed).perturb(&victim, images(classes), &goal).unwrap();
                right(&victim, found, &labels(classes)) as f32
            })
            .collect();
        let (low, high) = theirs.iter().fold((f32::MAX, 0f32), |(l, h), &t| (l.min(t), h.max(t)));
        let mean = ours.iter().sum::<f32>() / 10.0;
        assert!((low..=high).contains(&mean), "{name}: {ours:?} against {theirs:?}");
    }
}

/// Margin and cross-entropy order the points of two classes alike, so their best steps agree, but the margin
/// does not vanish in single precision.
#[test]
fn the_margin_loss_attacks_two_classes_where_cross_entropy_is_flat() {
    let inner = victim::victim(2);
    let sure = Frozen::from_fn(2, &Device::default(), move |x| {
        victim::Victim::trained(2, &Device::default()).logits(x) * 1000.0
    });
    let goal = Goal::untargeted(labels(2));
    let attack = Apgd::new(Budget::pixels(16.0)).with_steps(20);
    let flat = attack.perturb(&sure, images(2), &goal).unwrap();
    let margin = attack.with_loss(ApgdLoss::Margin).perturb(&sure, images(2), &goal).unwrap();
    assert!(right(&inner, flat, &labels(2)) >= 30);
    assert!(right(&inner, margin, &labels(2)) <= 8);
}

fn attacks() -> [Apgd; 6] {
    let linf = Apgd::new(Budget::linf(Epsilon::unit(0.03))).with_steps(6);
    [
        linf,
        linf.with_loss(ApgdLoss::Margin).with_restarts(2),
        Apgd::new(Budget::l2(0.8)).with_steps(6).with_loss(ApgdLoss::Dlr),
        linf.with_loss(ApgdLoss::TargetedDlr { targets: 2 }),
        Apgd::new(Budget::l1(6.0)).with_steps(6).with_multi_epsilon(true),
        linf.with_best_loss(true),
    ]
}

fn name(attack: &Apgd) -> String {
    attack.profile().name
}

#[test]
fn stays_within_ball_and_box_whatever_the_batch_and_its_neighbours() {
    let (victim, blinded) = (victim::victim(4), victim::blinded(victim::victim(4)));
    let positions: Vec<usize> = (0..6).collect();
    let (batch, labels) = some(4, &positions);
    for attack in attacks() {
        let (epsilon, norm) = (attack.budget.size(), attack.budget.norm());
        let goal = Goal::untargeted(&labels[..]).with_indices(vec![9, 4, 7, 1, 0, 30]);
        let before = victim.watch().queries();
        let together = attack.perturb(&victim, batch.clone(), &goal).unwrap();
        let (spent, most) = (victim.watch().queries() - before, attack.profile().queries.unwrap());
        assert!(
            spent.forwards <= 6 * most.forwards && spent.gradients <= 6 * most.gradients,
            "{spent:?} {most:?}"
        );
        let norms = values(norm.measure(together.clone() - batch.clone()));
        assert!(norms.iter().all(|&n| f64::from(n) <= epsilon * 1.0001), "{}: {norms:?}", name(&attack));
        assert!(values(together.clone()).iter().all(|v| (0.0..=1.0).contains(v)));
        // A neighbour whose logits are NaN changes nothing either.
        let mixed = victim::whitened(batch.clone(), 0);
        let mixed = values(attack.perturb(&blinded, mixed, &goal).unwrap());
        let together = values(together);
        let size = together.len() / 6;
        for i in 1..6 {
            let goal = Goal::untargeted([labels[i]]).with_indices(vec![goal.index(i)]);
            let alone = values(attack.perturb(&victim, batch.clone().slice(i..i + 1), &goal).unwrap());
            assert_eq!(alone, together[i * size..][..size], "{}: image {i}", name(&attack));
            assert_eq!(alone, mixed[i * size..][..size], "{}: image {i} beside NaN", name(&attack));
        }
    }
}

#[test]
fn reaches_targets_and_keeps_the_best_of_its_restarts() {
    let victim = victim::victim(4);
    let (batch, labels) = some(4, &(0..16).collect::<Vec<_>>());
    let targets: Vec<usize> = labels.iter().map(|label| (label + 1) % 4).collect();
    let goal = Goal::targeted(&targets[..]).with_true_classes(&labels[..]);
    for loss in [ApgdLoss::CrossEntropy, ApgdLoss::Margin] {
        let attack = Apgd::new(Budget::pixels(32.0)).with_loss(loss).with_steps(20);
        let found = attack.perturb(&victim, batch.clone(), &goal).unwrap();
        let n = right(&victim, found, &targets);
        println!("{} {n}", name(&attack));
    }
    // The highest loss of two runs is never below that of the first.
    let attack =
        Apgd::new(Budget::pixels(4.0)).with_loss(ApgdLoss::Margin).with_steps(5).with_best_loss(true);
    let goal = Goal::untargeted(&labels[..]);
    let margin = |attack: Apgd| {
        values(goal.margin(victim.logits(attack.perturb(&victim, batch.clone(), &goal).unwrap())))
    };
    let (one, three) = (margin(attack), margin(attack.with_restarts(3)));
    assert!(one.iter().zip(&three).all(|(one, three)| three >= one) && one != three);
}

/// N steps cost N gradients and a forward pass for each image that withstands, and less for one that falls.
#[test]
fn fallen_images_cost_nothing_more() {
    let victim = victim::victim(4);
    let goal = Goal::untargeted(labels(4));
    let attack = |epsilon| Apgd::new(Budget::pixels(epsilon)).with_loss(ApgdLoss::Margin).with_steps(10);
    attack(0.01).perturb(&victim, images(4), &goal).unwrap();
    let withstood = victim.watch().queries();
    assert_eq!((withstood.gradients, withstood.forwards), (320, 32));
    let found = attack(24.0).perturb(&victim, images(4), &goal).unwrap();
    assert!((victim.watch().queries() - withstood).gradients < 250);
    assert_eq!(right(&victim, found, &labels(4)), 0);
}

#[test]
fn refuses_bad_parameters_before_any_query() {
    let attack = Apgd::new(Budget::pixels(8.0));
    let two = [
        (attack.with_steps(0), "steps"),
        (attack.with_restarts(0), "restarts"),
        (attack.with_restarts(2).with_random_start(false), "restarts"),
        (attack.with_rho(f64::NAN), "rho"),
        (attack.with_rho(1.1), "rho"),
        (Apgd::new(Budget::l0(8)), "norm"),
        (attack.with_multi_epsilon(true), "norm"),
        (attack.with_loss(ApgdLoss::Dlr), "loss"),
        (attack.with_loss(ApgdLoss::TargetedDlr { targets: 1 }), "loss"),
        (Apgd::new(Budget::linf(Epsilon::unit(-1.0))), "budget"),
        (Apgd::new(Budget::linf(Epsilon::unit(f64::INFINITY))), "budget"),
    ];
    let four = [
        (attack.with_loss(ApgdLoss::TargetedDlr { targets: 0 }), Goal::untargeted(labels(4)), "targets"),
        (attack.with_loss(ApgdLoss::TargetedDlr { targets: 4 }), Goal::untargeted(labels(4)), "targets"),
        (attack.with_loss(ApgdLoss::TargetedDlr { targets: 3 }), Goal::targeted(labels(4)), "goal"),
        (attack.with_loss(ApgdLoss::Dlr), Goal::targeted(labels(4)), "goal"),
    ];
    let cases = two.map(|(attack, name)| (2, attack, Goal::untargeted(labels(2)), name));
    for (classes, attack, goal, name) in cases.into_iter().chain(four.map(|(a, g, n)| (4, a, g, n))) {
        let victim = victim::victim(classes);
        assert_eq!(refused(attack.perturb(&victim, images(classes), &goal)), name, "{attack:?}");
        assert_eq!(victim.watch().queries().gradients + victim.watch().queries().forwards, 0);
    }
    let victim = victim::victim(2);
    let good = attack.with_steps(1).perturb(&victim, images(2), &Goal::untargeted(labels(2)));
    assert!(good.is_ok());
    victim.watch().stop();
    let stopped = attack.perturb(&victim, images(2), &Goal::untargeted(labels(2)));
    assert_eq!(stopped.unwrap_err(), AttackError::Stopped);
}
