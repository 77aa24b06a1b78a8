//! AutoAttack: the standard set of attacks.

use burn::tensor::Tensor;

use super::base::check_parameter;
use super::{Apgd, ApgdLoss, Attack, AttackError, Ensemble, Fab, Goal, Norm, Square};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

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
/// 100 steps each, 5000 squares, the targeted ones with the 9 likeliest other classes or as many as there are. L1
/// (Croce & Hein, ICML 2021): APGD over three epsilons, APGD-CE with 5 restarts, APGD-T with 5 classes.
///
/// ```
/// use histoguard::prelude::*;
///
/// let attack = AutoAttack::standard(2, Norm::Linf, Epsilon::pixels(8.0));
/// let ensemble = attack.ensemble()?;
/// let names: Vec<&str> = ensemble.attacks().iter().map(|attack| attack.name()).collect();
/// assert_eq!(names, ["APGD-CE", "APGD-margin", "FAB", "Square"]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AutoAttack {
    classes: usize,
    norm: Norm,
    epsilon: Epsilon,
    seed: u64,
}

impl AutoAttack {
    /// The standard set for so many classes, in L-infinity, L2 or L1.
    pub fn standard(classes: usize, norm: Norm, epsilon: Epsilon) -> Self {
        Self { classes, norm, epsilon, seed: 0 }
    }

    /// The same with another seed for all its attacks.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The attacks in their order.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on fewer than two classes, and on L0.
    pub fn ensemble(&self) -> Result<Ensemble, AttackError> {
        check_parameter(self.classes >= 2, "classes", "at least 2", self.classes)?;
        check_parameter(self.norm != Norm::L0, "norm", "Linf, L2 or L1", self.norm)?;
        let sparse = self.norm == Norm::L1;
        let targets = |most: usize| most.min(self.classes - 1);
        let apgd =
            Apgd::new(self.epsilon).with_norm(self.norm).with_multi_epsilon(sparse).with_seed(self.seed);
        let second = match self.classes {
            2 => ApgdLoss::Margin,
            3 => ApgdLoss::Dlr,
            _ => ApgdLoss::TargetedDlr { targets: targets(if sparse { TARGETS_L1 } else { TARGETS }) },
        };
        let fab = Fab::new(self.norm).with_limit(self.epsilon).with_seed(self.seed);
        let square = Square::new(self.epsilon).with_norm(self.norm).with_seed(self.seed);
        let ensemble = Ensemble::new(vec![
            Box::new(apgd.with_restarts(if sparse { RESTARTS_L1 } else { 1 })),
            Box::new(apgd.with_loss(second)),
            Box::new(if self.classes == 2 { fab } else { fab.with_targets(targets(TARGETS)) }),
            Box::new(square.with_rescaled_schedule(false)),
        ])?;
        Ok(ensemble.with_name(self.name()))
    }
}

impl Attack for AutoAttack {
    fn name(&self) -> &'static str {
        "AutoAttack"
    }

    fn norm(&self) -> Norm {
        self.norm
    }

    fn epsilon(&self) -> Option<Epsilon> {
        Some(self.epsilon)
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(Self { epsilon, ..*self })
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        let classes = victim.num_classes();
        check_parameter(self.classes == classes, "classes", "as many as the victim's", self.classes)?;
        self.ensemble()?.perturb(victim, images, goal)
    }
}
