//! AutoAttack: its published set, two classes, and masked gradients.

mod iterative;
mod victim;

use histoguard::classifier::Queries;
use histoguard::prelude::*;
use iterative::refused;
use victim::{images, labels, right, values};

fn names(classes: usize, budget: Budget) -> Vec<String> {
    let ensemble = AutoAttack::standard(budget).ensemble(classes);
    ensemble.attacks().iter().map(|attack| attack.profile().name).collect()
}

/// `AutoAttack._set_version("standard")` of pyautoattack 0.2.0.
#[test]
fn the_set_is_the_published_one() {
    assert_eq!(names(10, Budget::pixels(8.0)), ["APGD-CE", "APGD-T", "FAB-T", "Square"]);
    assert_eq!(names(3, Budget::l2(0.5)), ["APGD-CE", "APGD-DLR", "FAB-T", "Square"]);
    assert_eq!(names(2, Budget::l1(8.0)), ["APGD-CE", "APGD-margin", "FAB", "Square"]);
    let budget = Budget::l2(0.5);
    let apgd = Apgd::new(budget).with_steps(100).with_rho(0.75);
    let square = Square::new(budget).with_rescaled_schedule(false).with_queries(5000);
    let expected: [Box<dyn Attack>; 4] = [
        Box::new(apgd),
        Box::new(apgd.with_loss(ApgdLoss::TargetedDlr { targets: 9 })),
        Box::new(Fab::new(Norm::L2).with_limit(Some(budget)).with_targets(Some(9)).with_steps(100)),
        Box::new(square.with_p_init(0.8)),
    ];
    let found = AutoAttack::standard(budget).ensemble(12);
    assert_eq!(format!("{:?}", found.attacks()), format!("{expected:?}"));
    let sparse = AutoAttack::standard(Budget::l1(0.5)).with_seed(7).ensemble(4);
    let apgd = Apgd::new(Budget::l1(0.5)).with_multi_epsilon(true).with_seed(7);
    let targeted = apgd.with_loss(ApgdLoss::TargetedDlr { targets: 3 });
    assert_eq!(format!("{:?}", sparse.attacks()[0]), format!("{:?}", apgd.with_restarts(5)));
    assert_eq!(format!("{:?}", sparse.attacks()[1]), format!("{targeted:?}"));
}

#[test]
fn is_never_better_for_the_defender_than_a_member() {
    for (classes, budget) in [(2, Budget::linf(Epsilon::unit(0.045))), (4, Budget::l2(1.1))] {
        let victim = victim::victim(classes);
        let (batch, labels) = (images(classes).slice(0..8), &labels(classes)[..8]);
        let goal = Goal::untargeted(labels);
        let auto = AutoAttack::standard(budget);
        let found = auto.perturb(&victim, batch.clone(), &goal).unwrap();
        let (spent, most) = (victim.watch().queries(), auto.profile().queries.unwrap());
        assert!(spent.forwards <= 8 * most.forwards && spent.gradients <= 8 * most.gradients, "{spent:?}");
        let norms = values(budget.norm().measure(found.clone() - batch.clone()));
        assert!(norms.iter().all(|&n| f64::from(n) <= budget.size() * 1.0001));
        let together = right(&victim, found, labels);
        assert!(together < 8, "{together}");
        // All but Square, which has thousands of queries for the survivors.
        for member in &auto.ensemble(classes).attacks()[..3] {
            let found = member.perturb(&victim, batch.clone(), &goal).unwrap();
            assert!(right(&victim, found, labels) >= together, "{member:?}");
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
    let budget = Budget::pixels(48.0);
    let clean = right(&stairs, images(2), &labels);
    let withstood =
        |attack: &dyn Attack| right(&stairs, attack.perturb(&stairs, images(2), &goal).unwrap(), &labels);
    for loss in [ApgdLoss::CrossEntropy, ApgdLoss::Margin] {
        assert!(withstood(&Apgd::new(budget).with_loss(loss).with_steps(10)) + 4 >= clean);
    }
    assert!(withstood(&Fab::new(Norm::Linf).with_limit(Some(budget)).with_steps(5)) + 4 >= clean);
    assert!(withstood(&Square::new(budget).with_queries(300)) <= clean / 3);
}

#[test]
fn refuses_what_does_not_fit_before_any_query() {
    let victim = victim::victim(2);
    let goal = Goal::untargeted(labels(2));
    let refused_of = |attack: &AutoAttack| refused(attack.perturb(&victim, images(2), &goal));
    assert_eq!(refused_of(&AutoAttack::standard(Budget::l0(8))), "norm");
    assert_eq!(refused_of(&AutoAttack::standard(Budget::linf(Epsilon::unit(f64::NAN)))), "budget");
    assert_eq!(victim.watch().queries(), Queries::NONE);
    let eight = AutoAttack::standard(Budget::pixels(8.0));
    let targets: Vec<usize> = labels(2).into_iter().map(|label| 1 - label).collect();
    assert_eq!(refused(eight.perturb(&victim, images(2), &Goal::targeted(targets))), "goal");
}

/// What it says of every number of classes is what its members say, or more.
#[test]
fn its_profile_bounds_every_set() {
    for budget in [Budget::pixels(8.0), Budget::l2(0.5), Budget::l1(8.0)] {
        let whole = AutoAttack::standard(budget).profile();
        assert_eq!((whole.name.as_str(), whole.budget()), ("AutoAttack", Some(budget)));
        assert_eq!(whole.access, Access::Gradients);
        let most = whole.queries.unwrap();
        for classes in [2, 3, 4, 9, 10, 1000] {
            let set = AutoAttack::standard(budget).ensemble(classes).profile();
            // FAB, for two classes, does not know how many gradients a step takes.
            assert_eq!(set.queries.is_none(), classes == 2);
            let queries = set.queries.unwrap_or(Queries::NONE);
            assert!(queries.forwards <= most.forwards && queries.gradients <= most.gradients, "{classes}");
            assert!(set.steps <= whole.steps, "{classes}");
        }
    }
}
