//! Ensembles against their members.

mod iterative;
mod victim;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use histoguard::attack::steps::{Tried, worst_of};
use histoguard::attack::{Aim, Goals, Profile, Settings, Task};
use histoguard::classifier::Queries;
use histoguard::parameter::Parameter;
use histoguard::prelude::*;
use histoguard::random::Purpose;
use rand::RngExt;
use serde::Serialize;
use victim::{images, labels, right, values};

fn members(budget: Budget) -> Vec<Box<dyn Attack>> {
    vec![
        Box::new(Fgsm::new(budget)),
        Box::new(Apgd::new(budget).with_steps(5)),
        Box::new(Apgd::new(budget).with_steps(5).with_loss(ApgdLoss::Margin)),
    ]
}

#[test]
fn is_never_better_for_the_defender_than_its_best_member() {
    for classes in [2, 4] {
        let victim = victim::victim(classes);
        let goal = Goal::untargeted(labels(classes));
        for levels in [4.0, 10.0, 14.0] {
            let withstood = |attack: &dyn Attack| {
                let found = attack.perturb(&victim, images(classes), &goal).unwrap();
                right(&victim, found, &labels(classes))
            };
            let budget = Budget::pixels(levels);
            let least = members(budget).iter().map(|member| withstood(member.as_ref())).min().unwrap();
            let together = withstood(&Ensemble::new(members(budget)).unwrap());
            assert!(together <= least, "{classes} classes, {levels}/255: {together} > {least}");
        }
    }
}

#[test]
fn later_attacks_see_the_survivors_alone_and_the_worst_result_comes_back() {
    let victim = victim::victim(4);
    let goal = Goal::untargeted(labels(4));
    let budget = Budget::pixels(12.0);
    let first = Fgsm::new(budget).perturb(&victim, images(4), &goal).unwrap();
    let left = right(&victim, first.clone(), &labels(4)) as u64;
    assert!(left > 0 && left < 32);
    let before = victim.watch().queries();
    let pair = vec![Box::new(Fgsm::new(budget)) as Box<dyn Attack>, Box::new(Fgsm::new(budget))];
    let found = Ensemble::new(pair).unwrap().perturb(&victim, images(4), &goal).unwrap();
    assert_eq!((victim.watch().queries() - before).gradients, 32 + left);
    assert_eq!(values(found), values(first.clone()));
    // Beside an attack that does nothing, FGSM's result counts wherever its margin is higher.
    let pair = vec![Box::new(Fgsm::new(budget)) as Box<dyn Attack>, Box::new(Shift::within(budget))];
    let found = Ensemble::new(pair).unwrap().perturb(&victim, images(4), &goal).unwrap();
    assert_eq!(values(found), values(first));
    // What is wrong already stays as it is, at no cost.
    let wrong: Vec<usize> = labels(4).iter().map(|label| (label + 1) % 4).collect();
    let before = victim.watch().queries();
    let ensemble = Ensemble::new(members(budget)).unwrap();
    let found = ensemble.perturb(&victim, images(4), &Goal::untargeted(wrong)).unwrap();
    assert_eq!((values(found), (victim.watch().queries() - before).gradients), (values(images(4)), 0));
}

/// Adds a constant, and looks for nothing smaller.
#[derive(Clone, Debug, Serialize)]
struct Shift {
    by: f32,
    aim: Aim,
}

impl Shift {
    fn within(budget: Budget) -> Self {
        Self { by: 0.0, aim: Aim::Within(budget) }
    }

    fn smallest(by: f32) -> Self {
        Self { by, aim: Aim::Smallest { norm: Norm::Linf, limit: None } }
    }
}

impl Attack for Shift {
    fn profile(&self) -> Profile {
        Profile {
            name: "Shift".into(),
            aim: self.aim,
            goals: Goals::Any,
            access: Access::Nothing,
            steps: Some(0),
            queries: Some(Queries::NONE),
            mask: None,
        }
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        Vec::new()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { aim: Aim::Within(budget), ..self.clone() })
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        None
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Ok((task.images() + self.by).clamp(0.0, 1.0))
    }
}

#[test]
fn without_a_budget_the_smallest_perturbation_counts() {
    let device = Device::default();
    let bright = Frozen::from_fn(2, &device, |x| {
        let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
        Tensor::cat(vec![bright.clone().neg() + 0.5, bright - 0.5], 1)
    });
    let shifts = [0.25, 0.125, 0.0625, 0.5].map(|s| Box::new(Shift::smallest(s)) as Box<dyn Attack>);
    let ensemble = Ensemble::new(Vec::from(shifts)).unwrap();
    let levels = Tensor::<1>::from_floats([0.45, 0.4, 0.3, 0.1, 0.0, 0.6], &device).reshape([6, 1, 1, 1]);
    let found = ensemble.perturb(&bright, levels, &Goal::untargeted([0, 0, 0, 0, 0, 0])).unwrap();
    let expected = [0.45 + 0.0625, 0.4 + 0.125, 0.3 + 0.25, 0.1 + 0.5, 0.5, 0.6];
    assert!(victim::largest_difference(&values(found), &expected) < 1e-6);
}

#[test]
fn refuses_members_that_do_not_fit_before_any_query() {
    let eight = Budget::pixels(8.0);
    let refused = |attacks: Vec<Box<dyn Attack>>| match Ensemble::new(attacks) {
        Err(AttackError::Parameter(error)) => error.parameter,
        other => panic!("{other:?}"),
    };
    let fgsm = || Box::new(Fgsm::new(eight));
    assert_eq!(refused(vec![]), "attacks");
    assert_eq!(refused(vec![fgsm(), Box::new(Fgsm::new(Budget::l2(8.0)))]), "norm");
    assert_eq!(refused(vec![fgsm(), Box::new(Fgsm::new(Budget::pixels(4.0)))]), "budget");
    assert_eq!(refused(vec![fgsm(), Box::new(Shift::smallest(0.1))]), "budget");
    // A member's own parameters count before another one works.
    let victim = victim::victim(2);
    let ensemble = Ensemble::new(vec![fgsm(), Box::new(Apgd::new(eight).with_steps(0))]).unwrap();
    let found = ensemble.perturb(&victim, images(2), &Goal::untargeted(labels(2)));
    assert_eq!(iterative::refused(found), "steps");
    // So do the goals that a member takes.
    let dlr = Box::new(Apgd::new(eight).with_loss(ApgdLoss::Dlr));
    let picky = Ensemble::new(vec![fgsm(), dlr]).unwrap();
    assert_eq!(picky.profile().goals, Goals::Untargeted);
    let found = picky.perturb(&victim, images(2), &Goal::targeted(labels(2)));
    assert_eq!(iterative::refused(found), "goal");
    let queries = victim.watch().queries();
    assert_eq!(queries.forwards + queries.gradients, 0);
    let renamed = Ensemble::new(members(eight)).unwrap().with_name("Trio");
    assert_eq!((renamed.profile().name.as_str(), renamed.attacks().len()), ("Trio", 3));
    let wider = renamed.at(Budget::pixels(16.0)).profile();
    assert_eq!((wider.name.as_str(), wider.budget()), ("Trio", Some(Budget::pixels(16.0))));
}

#[test]
fn restarts_are_an_ensemble_of_runs_with_numbers_of_their_own() {
    let victim = victim::victim(4);
    let goal = Goal::untargeted(labels(4));
    let spent = |attack: &dyn Attack| {
        let before = victim.watch().queries();
        let found = attack.perturb(&victim, images(4), &goal).unwrap();
        (values(found), victim.watch().queries() - before)
    };
    // Those of PGD itself, which draws from the run as well.
    let pgd = Pgd::new(Budget::pixels(9.0)).with_steps(4);
    let (own, _) = spent(&pgd.with_restarts(4));
    let restarts = Restarts::new(pgd, 4);
    let (found, queries) = spent(&restarts);
    assert!(own == found);
    let most = restarts.profile().queries.unwrap();
    assert_eq!(most, Queries::forwards(5) + Queries::gradients(16));
    assert!(queries.forwards <= 32 * most.forwards && queries.gradients < 32 * most.gradients);
    // One that draws nothing gives the same again.
    let fgsm = Fgsm::new(Budget::pixels(9.0));
    assert!(spent(&Restarts::new(fgsm, 3)).0 == spent(&fgsm).0);
    assert_eq!(iterative::refused(Restarts::new(fgsm, 0).perturb(&victim, images(4), &goal)), "runs");
    assert_eq!(restarts.settings()["runs"], 4);
}

/// Draws a number in each of three runs and changes nothing.
#[derive(Clone, Debug, Default, Serialize)]
struct Drawer {
    #[serde(skip)]
    drawn: Arc<Mutex<Vec<u64>>>,
}

impl Attack for Drawer {
    fn profile(&self) -> Profile {
        Profile { name: "Drawer".into(), ..Shift::smallest(0.0).profile() }
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        Vec::new()
    }

    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(self.clone())
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        None
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        const NUMBER: Purpose = Purpose::named("number");
        worst_of(&task, 3, true, |task| {
            let draws = [task.draws(NUMBER, 0, &[7]), task.draws_of_run(NUMBER, 0)];
            self.drawn.lock().unwrap().extend(draws.map(|draws| draws.generator(0).random::<u64>()));
            Ok(Tried::judged(task, task.images()))
        })
    }
}

#[test]
fn runs_within_runs_draw_anew_and_the_first_ones_draw_as_if_alone() {
    let victim = victim::victim(2);
    let drawn = |attack: &dyn Fn(Drawer) -> Box<dyn Attack>| {
        let drawer = Drawer::default();
        attack(drawer.clone()).perturb(&victim, images(2), &Goal::untargeted(labels(2))).unwrap();
        drawer.drawn.lock().unwrap().clone()
    };
    let alone = drawn(&|drawer| Box::new(drawer));
    let nested = drawn(&|drawer| Box::new(Restarts::new(Restarts::new(drawer, 2), 3)));
    assert_eq!((alone.len(), nested.len()), (6, 2 * 3 * 6));
    assert_eq!(nested[..6], alone);
    let different: HashSet<u64> = nested.iter().copied().collect();
    assert_eq!(different.len(), nested.len());
    let together =
        drawn(&|drawer| Box::new(Ensemble::new(vec![Box::new(drawer.clone()), Box::new(drawer)]).unwrap()));
    assert_eq!(together, [&alone[..], &alone].concat(), "members draw as if alone");
}
