//! The losses that Auto-PGD raises.

use serde::{Deserialize, Serialize};

use crate::attack::prelude::*;
use crate::attack::{Goal, targets_among};
use crate::classifier::{column, pick, ranked};

/// Keeps the ratio of logit differences finite, as the reference implementation does.
const TINY: f64 = 1e-12;

/// The loss that [`Apgd`](super::Apgd) raises; `z` are the logits, `y` the true class, `p1, p2, ...` the
/// classes from the likeliest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApgdLoss {
    /// [`Goal::objective`]. Vanishes in single precision where the victim is very sure.
    CrossEntropy,
    /// [`Goal::margin`], the difference of logits: defined from two classes on and never saturated.
    Margin,
    /// Difference of logits ratio, `(max_{i != y} z_i - z_y) / (z_p1 - z_p3)` (Croce & Hein 2020, equation
    /// 6). Needs three classes and an untargeted goal.
    Dlr,
    /// Targeted DLR, `(z_t - z_y) / (z_p1 - (z_p3 + z_p4) / 2)` (equation 7), for one class `t` after
    /// another: the likeliest other ones. Needs four classes and an untargeted goal.
    TargetedDlr {
        /// Number of classes `t`, from 1 to one less than the victim's classes; AutoAttack takes 9.
        targets: usize,
    },
}

impl ApgdLoss {
    /// What raising it is called.
    pub(super) fn attack_name(self) -> &'static str {
        match self {
            Self::CrossEntropy => "APGD-CE",
            Self::Margin => "APGD-margin",
            Self::Dlr => "APGD-DLR",
            Self::TargetedDlr { .. } => "APGD-T",
        }
    }

    /// Whether it is a ratio of logit differences, which knows no target of the goal.
    pub(super) fn is_ratio(self) -> bool {
        matches!(self, Self::Dlr | Self::TargetedDlr { .. })
    }

    /// Number of classes tried one after another.
    pub(super) fn targets(self) -> Option<usize> {
        if let Self::TargetedDlr { targets } = self { Some(targets) } else { None }
    }

    /// What it needs of the victim.
    pub(super) fn parameters(self, classes: usize) -> Vec<Parameter> {
        let enough = |range: &'static str, least| Parameter::new("loss", range, classes >= least, classes);
        match self {
            Self::CrossEntropy | Self::Margin => Vec::new(),
            Self::Dlr => vec![enough("three classes or more for DLR", 3)],
            Self::TargetedDlr { targets } => {
                vec![enough("four classes or more for targeted DLR", 4), targets_among(classes, targets)]
            }
        }
    }

    /// The loss of each image, `[batch, classes]` to `[batch]`; `targets` are the classes that targeted DLR
    /// aims at.
    pub(super) fn values(self, logits: Tensor<2>, goal: &Goal, targets: Option<&[i64]>) -> Tensor<1> {
        match self {
            Self::CrossEntropy => goal.objective(logits),
            Self::Margin => goal.margin(logits),
            Self::Dlr => {
                let [first, third, _] = likeliest(&logits, [0, 2, 2]);
                goal.margin(logits) / (first - third + TINY)
            }
            Self::TargetedDlr { .. } => {
                let [first, third, fourth] = likeliest(&logits, [0, 2, 3]);
                let targets = targets.expect("a class an image");
                goal.lead(logits, targets) / (first - (third + fourth) * 0.5 + TINY)
            }
        }
    }
}

/// The logits at these ranks, 0 for the likeliest class.
fn likeliest<const N: usize>(logits: &Tensor<2>, ranks: [usize; N]) -> [Tensor<1>; N] {
    let order = ranked(logits.clone().inner());
    ranks.map(|rank| pick(logits.clone(), &column(&order, rank)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::values;
    use burn::tensor::Device;

    /// Equations 6 and 7 by hand.
    #[test]
    fn ratios_of_logit_differences() {
        let logits =
            Tensor::<2>::from_floats([[4.0, 1.0, 3.0, -1.0], [4.0, 1.0, 3.0, -1.0]], &Device::default());
        let found = |loss: ApgdLoss, goal| values(loss.values(logits.clone(), &goal, Some(&[2, 3])));
        // (3 - 4) / (4 - 1) and (4 - 1) / (4 - 1).
        assert_eq!(found(ApgdLoss::Dlr, Goal::untargeted([0, 1])), [-1.0 / 3.0, 1.0]);
        // (3 - 4) / (4 - (1 - 1) / 2) and (-1 - 1) / 4.
        let targeted = ApgdLoss::TargetedDlr { targets: 1 };
        assert_eq!(found(targeted, Goal::untargeted([0, 1])), [-0.25, -0.5]);
    }
}
