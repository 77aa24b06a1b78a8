//! AutoAttack: its published set, two classes, and masked gradients.

#[path = "victim/mod.rs"]
mod victim;

use histoguard::prelude::*;
use victim::{images, labels, right, values};

fn names(classes: usize, norm: Norm) -> Vec<&'static str> {
    let ensemble = AutoAttack::standard(classes, norm, Epsilon::pixels(8.0)).ensemble().unwrap();
    ensemble.attacks().iter().map(|attack| attack.name()).collect()
}

/// `AutoAttack._set_version("standard")` of pyautoattack 0.2.0.
#[test]
fn the_set_is_the_published_one() {
    assert_eq!(names(10, Norm::Linf), ["APGD-CE", "APGD-T", "FAB-T", "Square"]);
    assert_eq!(names(3, Norm::L2), ["APGD-CE", "APGD-DLR", "FAB-T", "Square"]);
    assert_eq!(names(2, Norm::L1), ["APGD-CE", "APGD-margin", "FAB", "Square"]);
    let epsilon = Epsilon::unit(0.5);
    let apgd = Apgd::new(epsilon).with_norm(Norm::L2).with_steps(100).with_rho(0.75);
    let square = Square::new(epsilon).with_norm(Norm::L2).with_rescaled_schedule(false).with_queries(5000);
    let expected: [Box<dyn Attack>; 4] = [
        Box::new(apgd),
        Box::new(apgd.with_loss(ApgdLoss::TargetedDlr { targets: 9 })),
        Box::new(Fab::new(Norm::L2).with_limit(epsilon).with_targets(9).with_steps(100)),
        Box::new(square.with_p_init(0.8)),
    ];
    let found = AutoAttack::standard(12, Norm::L2, epsilon).ensemble().unwrap();
    assert_eq!(format!("{:?}", found.attacks()), format!("{expected:?}"));
    let sparse = AutoAttack::standard(4, Norm::L1, epsilon).with_seed(7).ensemble().unwrap();
    let apgd = Apgd::new(epsilon).with_norm(Norm::L1).with_multi_epsilon(true).with_seed(7);
    let targeted = apgd.with_loss(ApgdLoss::TargetedDlr { targets: 3 });
    assert_eq!(format!("{:?}", sparse.attacks()[0]), format!("{:?}", apgd.with_restarts(5)));
    assert_eq!(format!("{:?}", sparse.attacks()[1]), format!("{targeted:?}"));
}

#[test]
fn is_never_better_for_the_defender_than_a_member() {
    for (classes, norm, epsilon) in [(2, Norm::Linf, 0.045), (4, Norm::L2, 1.1)] {
        let victim = victim::victim(classes);
        let (batch, labels) = (images(classes).slice(0..8), &labels(classes)[..8]);
        let goal = Goal::untargeted(labels);
        let auto = AutoAttack::standard(classes, norm, Epsilon::unit(epsilon));
        let found = auto.perturb(&victim, batch.clone(), &goal).unwrap();
        let norms = values(norm.measure(found.clone() - batch.clone()));
        assert!(norms.iter().all(|&n| f64::from(n) <= epsilon * 1.0001));
        let together = right(&victim, found, labels);
        assert!(together < 8, "{together}");
        // All but Square, which has thousands of queries for the survivors.
        for member in &auto.ensemble().unwrap().attacks()[..3] {
            let found = member.perturb(&victim, batch.clone(), &goal).unwrap();
            assert!(right(&victim, found, labels) >= together, "{}", member.name());
        }
    }
}

/// Rounded inputs have a gradient of zero everywhere: only the black box sees that nothing is gained.
#[test]
fn square_finds_what_masked_gradients_hide() {
    let device = Device::default();
    let network = victim::Victim::trained(2, &device);
    let stairs = Frozen::from_fn(2, &device, move |x| network.logits((x * 16.0).round() / 16.0));
    let labels = labels(2);
    let goal = Goal::untargeted(&labels[..]);
    let epsilon = Epsilon::pixels(48.0);
    let clean = right(&stairs, images(2), &labels);
    let withstood =
        |attack: &dyn Attack| right(&stairs, attack.perturb(&stairs, images(2), &goal).unwrap(), &labels);
    for loss in [ApgdLoss::CrossEntropy, ApgdLoss::Margin] {
        assert!(withstood(&Apgd::new(epsilon).with_loss(loss).with_steps(10)) + 4 >= clean);
    }
    assert!(withstood(&Fab::new(Norm::Linf).with_limit(epsilon).with_steps(5)) + 4 >= clean);
    assert!(withstood(&Square::new(epsilon).with_queries(300)) <= clean / 3);
}

#[test]
fn refuses_what_does_not_fit_before_any_query() {
    let victim = victim::victim(2);
    let goal = Goal::untargeted(labels(2));
    let eight = Epsilon::pixels(8.0);
    let cases = [
        (AutoAttack::standard(4, Norm::Linf, eight), "classes"),
        (AutoAttack::standard(2, Norm::L0, eight), "norm"),
        (AutoAttack::standard(2, Norm::Linf, Epsilon::unit(f64::NAN)), "epsilon"),
    ];
    for (attack, name) in cases {
        match attack.perturb(&victim, images(2), &goal) {
            Err(AttackError::Parameter { parameter, .. }) => assert_eq!(parameter, name),
            other => panic!("{other:?}"),
        }
    }
    assert!(AutoAttack::standard(1, Norm::Linf, eight).ensemble().is_err());
    let queries = victim.watch().queries();
    assert_eq!(queries.gradients + queries.forwards, 0);
}
