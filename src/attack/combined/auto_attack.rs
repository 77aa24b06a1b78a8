//! AutoAttack: the standard set of attacks.

use super::ensemble::Ensemble;
use crate::attack::prelude::*;
use crate::attack::{Apgd, ApgdLoss, Fab, Square};

/// Most target classes of the targeted attacks; APGD-T takes fewer in L1.
const TARGETS: usize = 9;
const TARGETS_L1: usize = 5;
/// Runs of APGD-CE in L1.
const RESTARTS_L1: usize = 5;

/// AutoAttack: the worst case of four attacks without parameters to tune, also for two classes.
///
/// Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
/// attacks", ICML 2020, version "standard" of the authors' implementation (`pyautoattack` 0.2.0 on PyPI):
///
/// | classes | attacks |
/// | --- | --- |
/// | four or more | APGD-CE, APGD-T, FAB-T, Square |
/// | three, too few for the targeted DLR loss | APGD-CE, APGD-DLR, FAB-T, Square |
/// | two, too few for the DLR loss | APGD-CE, APGD-margin, FAB, Square |
///
/// 100 steps each, 5000 squares, the targeted ones with the 9 likeliest other classes or as many as there
/// are. L1 (Croce & Hein, ICML 2021): APGD over three epsilons, APGD-CE with 5 restarts, APGD-T with 5
/// classes.
///
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number of at least 0 |
/// | norm | the budget's | Linf, L2 or L1 |
/// | seed, of all attacks | 0 | any |
///
/// ```
/// use histoguard::prelude::*;
///
/// let attack = AutoAttack::standard(Budget::pixels(8.0));
/// let ensemble = attack.ensemble(2);
/// let names: Vec<String> = ensemble.attacks().iter().map(|attack| attack.profile().name).collect();
/// assert_eq!(names, ["APGD-CE", "APGD-margin", "FAB", "Square"]);
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct AutoAttack {
    /// How far each image may be changed.
    pub budget: Budget,
    /// The seed of all its attacks.
    #[config(default = 0)]
    pub seed: u64,
}

impl AutoAttack {
    /// The standard set.
    pub fn standard(budget: Budget) -> Self {
        Self::new(budget)
    }

    /// The attacks in their order, for a victim with so many classes.
    pub fn ensemble(&self, classes: usize) -> Ensemble {
        let Self { budget, seed } = *self;
        let sparse = budget.norm() == Norm::L1;
        let targets = |most: usize| most.min(classes.saturating_sub(1));
        let apgd = Apgd::new(budget).with_multi_epsilon(sparse).with_seed(seed);
        let second = match classes {
            ..=2 => ApgdLoss::Margin,
            3 => ApgdLoss::Dlr,
            _ => ApgdLoss::TargetedDlr { targets: targets(if sparse { TARGETS_L1 } else { TARGETS }) },
        };
        let fab = Fab::new(budget.norm()).with_limit(Some(budget)).with_seed(seed);
        let attacks: Vec<Box<dyn Attack>> = vec![
            Box::new(apgd.with_restarts(if sparse { RESTARTS_L1 } else { 1 })),
            Box::new(apgd.with_loss(second)),
            Box::new(fab.with_targets((classes > 2).then(|| targets(TARGETS)))),
            Box::new(Square::new(budget).with_seed(seed).with_rescaled_schedule(false)),
        ];
        Ensemble { name: "AutoAttack".into(), attacks }
    }
}

impl Attack for AutoAttack {
    /// With the queries of the most target classes, the most that it takes.
    fn profile(&self) -> Profile {
        self.ensemble(TARGETS + 1).profile()
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let classes = task.victim().num_classes();
        let norm = norm_among(self.budget.norm(), &[Norm::Linf, Norm::L2, Norm::L1]);
        [vec![norm], self.ensemble(classes).parameters(task)].concat()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        self.ensemble(task.victim().num_classes()).craft(task)
    }
}
