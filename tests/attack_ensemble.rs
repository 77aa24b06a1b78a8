//! Ensembles against their members.

#[path = "victim/mod.rs"]
mod victim;

use histoguard::prelude::*;
use victim::{images, labels, right, values};

fn members(epsilon: Epsilon) -> Vec<Box<dyn Attack>> {
    vec![
        Box::new(Fgsm::new(epsilon)),
        Box::new(Apgd::new(epsilon).with_steps(5)),
        Box::new(Apgd::new(epsilon).with_steps(5).with_loss(ApgdLoss::Margin)),
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
            let epsilon = Epsilon::pixels(levels);
            let least = members(epsilon).iter().map(|member| withstood(member.as_ref())).min().unwrap();
            let together = withstood(&Ensemble::new(members(epsilon)).unwrap());
            assert!(together <= least, "{classes} classes, {levels}/255: {together} > {least}");
        }
    }
}

#[test]
fn later_attacks_see_the_survivors_alone_and_the_worst_result_comes_back() {
    let victim = victim::victim(4);
    let goal = Goal::untargeted(labels(4));
    let epsilon = Epsilon::pixels(12.0);
    let first = Fgsm::new(epsilon).perturb(&victim, images(4), &goal).unwrap();
    let left = right(&victim, first.clone(), &labels(4)) as u64;
    assert!(left > 0 && left < 32);
    let before = victim.watch().queries();
    let pair = vec![Box::new(Fgsm::new(epsilon)) as Box<dyn Attack>, Box::new(Fgsm::new(epsilon))];
    let found = Ensemble::new(pair).unwrap().perturb(&victim, images(4), &goal).unwrap();
    assert_eq!((victim.watch().queries() - before).gradients, 32 + left);
    assert_eq!(values(found), values(first.clone()));
    // Beside an attack that does nothing, FGSM's result counts wherever its margin is higher.
    let pair =
        vec![Box::new(Fgsm::new(epsilon)) as Box<dyn Attack>, Box::new(Idle(Some(epsilon), Norm::Linf))];
    let found = Ensemble::new(pair).unwrap().perturb(&victim, images(4), &goal).unwrap();
    assert_eq!(values(found), values(first));
    // What is wrong already stays as it is, at no cost.
    let wrong: Vec<usize> = labels(4).iter().map(|label| (label + 1) % 4).collect();
    let before = victim.watch().queries();
    let ensemble = Ensemble::new(members(epsilon)).unwrap();
    let found = ensemble.perturb(&victim, images(4), &Goal::untargeted(wrong)).unwrap();
    assert_eq!((values(found), (victim.watch().queries() - before).gradients), (values(images(4)), 0));
}

/// Returns the images with this epsilon and norm.
#[derive(Debug)]
struct Idle(Option<Epsilon>, Norm);

impl Attack for Idle {
    fn name(&self) -> &'static str {
        "Idle"
    }

    fn norm(&self) -> Norm {
        self.1
    }

    fn epsilon(&self) -> Option<Epsilon> {
        self.0
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(Self(Some(epsilon), self.1))
    }

    fn perturb(&self, _: &Frozen, images: Tensor<4>, _: &Goal) -> Result<Tensor<4>, AttackError> {
        Ok(images)
    }
}

/// Adds a constant, and looks for nothing smaller.
#[derive(Debug)]
struct Shift(f32);

impl Attack for Shift {
    fn name(&self) -> &'static str {
        "Shift"
    }

    fn norm(&self) -> Norm {
        Norm::Linf
    }

    fn epsilon(&self) -> Option<Epsilon> {
        None
    }

    fn with_epsilon(&self, _: Epsilon) -> Box<dyn Attack> {
        Box::new(Self(self.0))
    }

    fn perturb(&self, _: &Frozen, images: Tensor<4>, _: &Goal) -> Result<Tensor<4>, AttackError> {
        Ok((images + self.0).clamp(0.0, 1.0))
    }
}

#[test]
fn without_epsilon_the_smallest_perturbation_counts() {
    let device = Device::default();
    let bright = Frozen::from_fn(2, &device, |x| {
        let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
        Tensor::cat(vec![bright.clone().neg() + 0.5, bright - 0.5], 1)
    });
    let shifts = [0.25, 0.125, 0.0625, 0.5].map(|s| Box::new(Shift(s)) as Box<dyn Attack>);
    let ensemble = Ensemble::new(Vec::from(shifts)).unwrap();
    let levels = Tensor::<1>::from_floats([0.45, 0.4, 0.3, 0.1, 0.0, 0.6], &device).reshape([6, 1, 1, 1]);
    let found = ensemble.perturb(&bright, levels, &Goal::untargeted([0, 0, 0, 0, 0, 0])).unwrap();
    let expected = [0.45 + 0.0625, 0.4 + 0.125, 0.3 + 0.25, 0.1 + 0.5, 0.5, 0.6];
    assert!(victim::largest_difference(&values(found), &expected) < 1e-6);
}

#[test]
fn refuses_members_that_do_not_fit_before_any_query() {
    let eight = Some(Epsilon::pixels(8.0));
    let refused = |attacks: Vec<Box<dyn Attack>>| match Ensemble::new(attacks) {
        Err(AttackError::Parameter { parameter, .. }) => parameter,
        other => panic!("{other:?}"),
    };
    let fgsm = || Box::new(Fgsm::new(Epsilon::pixels(8.0)));
    assert_eq!(refused(vec![]), "attacks");
    assert_eq!(refused(vec![fgsm(), Box::new(Idle(eight, Norm::L2))]), "norm");
    assert_eq!(refused(vec![fgsm(), Box::new(Idle(Some(Epsilon::pixels(4.0)), Norm::Linf))]), "epsilon");
    assert_eq!(refused(vec![fgsm(), Box::new(Idle(None, Norm::Linf))]), "epsilon");
    // A member's own parameters count before another one works.
    let victim = victim::victim(2);
    let ensemble =
        Ensemble::new(vec![fgsm(), Box::new(Apgd::new(Epsilon::pixels(8.0)).with_steps(0))]).unwrap();
    let found = ensemble.perturb(&victim, images(2), &Goal::untargeted(labels(2)));
    assert!(matches!(found, Err(AttackError::Parameter { parameter: "steps", .. })));
    let queries = victim.watch().queries();
    assert_eq!(queries.forwards + queries.gradients, 0);
    let renamed = Ensemble::new(members(Epsilon::pixels(8.0))).unwrap().with_name("Trio");
    assert_eq!((renamed.name(), renamed.attacks().len()), ("Trio", 3));
    let wider = renamed.with_epsilon(Epsilon::pixels(16.0));
    assert_eq!((wider.name(), wider.epsilon()), ("Trio", Some(Epsilon::pixels(16.0))));
}
