//! The losses that Auto-PGD raises.

use burn::tensor::Tensor;

use super::super::base::check_parameter;
use super::super::classes::{pick, ranked};
use super::super::{AttackError, Goal};

/// Keeps the ratio of logit differences finite, as the reference implementation does.
const TINY: f64 = 1e-12;

/// The loss that [`Apgd`](super::Apgd) raises; `z` are the logits, `y` the true class, `p1, p2, ...` the
/// classes from the likeliest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApgdLoss {
    /// [`Goal::objective`]. Vanishes in single precision where the victim is very sure.
    CrossEntropy,
    /// [`Goal::margin`], the difference of logits: defined from two classes on and never saturated.
    Margin,
    /// Difference of logits ratio, `(max_{i != y} z_i - z_y) / (z_p1 - z_p3)` (Croce & Hein 2020, equation 6).
    /// Needs three classes and an untargeted goal.
    Dlr,
    /// Targeted DLR, `(z_t - z_y) / (z_p1 - (z_p3 + z_p4) / 2)` (equation 7), for one class `t` after another:
    /// the likeliest other ones. Needs four classes and an untargeted goal.
    TargetedDlr {
        /// Number of classes `t`, from 1 to one less than the victim's classes; AutoAttack takes 9.
        targets: usize,
    },
}

impl ApgdLoss {
    /// Number of classes tried one after another.
    pub(super) fn targets(self) -> usize {
        if let Self::TargetedDlr { targets } = self { targets } else { 1 }
    }

    pub(super) fn check(self, goal: &Goal, classes: usize) -> Result<(), AttackError> {
        let (least, expected) = match self {
            Self::CrossEntropy | Self::Margin => return Ok(()),
            Self::Dlr => (3, "three classes or more for DLR"),
            Self::TargetedDlr { .. } => (4, "four classes or more for targeted DLR"),
        };
        check_parameter(classes >= least, "loss", expected, classes)?;
        let targets = self.targets();
        let range = "from 1 to one less than the classes";
        check_parameter((1..classes).contains(&targets), "targets", range, targets)?;
        check_parameter(!goal.is_targeted(), "goal", "an untargeted one for DLR", "a targeted one")
    }
}

/// A loss with the classes of a batch.
pub(super) struct Objective {
    pub(super) loss: ApgdLoss,
    pub(super) goal: Goal,
    /// The class that targeted DLR aims at, one an image; empty for the other losses.
    pub(super) targets: Vec<i64>,
}

impl Objective {
    /// `[batch, classes]` to `[batch]`.
    pub(super) fn values(&self, logits: Tensor<2>) -> Tensor<1> {
        match self.loss {
            ApgdLoss::CrossEntropy => self.goal.objective(logits),
            ApgdLoss::Margin => self.goal.margin(logits),
            ApgdLoss::Dlr => {
                let [first, third, _] = likeliest(&logits, [0, 2, 2]);
                self.goal.margin(logits) / (first - third + TINY)
            }
            ApgdLoss::TargetedDlr { .. } => {
                let [first, third, fourth] = likeliest(&logits, [0, 2, 3]);
                let difference = pick(logits.clone(), &self.targets) - pick(logits, self.goal.classes());
                difference / (first - (third + fourth) * 0.5 + TINY)
            }
        }
    }

    pub(super) fn select(&self, positions: &[usize]) -> Self {
        let targets = positions.iter().filter_map(|&p| self.targets.get(p).copied()).collect();
        Self { loss: self.loss, goal: self.goal.select(positions), targets }
    }
}

/// The logits at these ranks, 0 for the likeliest class.
fn likeliest<const N: usize>(logits: &Tensor<2>, ranks: [usize; N]) -> [Tensor<1>; N] {
    let order = ranked(logits.clone().inner());
    ranks.map(|rank| pick(logits.clone(), &order.iter().map(|classes| classes[rank]).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::super::super::rows::values;
    use super::*;
    use burn::tensor::Device;

    /// Equations 6 and 7 by hand.
    #[test]
    fn ratios_of_logit_differences() {
        let logits =
            Tensor::<2>::from_floats([[4.0, 1.0, 3.0, -1.0], [4.0, 1.0, 3.0, -1.0]], &Device::default());
        let found =
            |loss, goal: Goal| values(Objective { loss, goal, targets: vec![2, 3] }.values(logits.clone()));
        // (3 - 4) / (4 - 1) and (4 - 1) / (4 - 1).
        assert_eq!(found(ApgdLoss::Dlr, Goal::untargeted([0, 1])), [-1.0 / 3.0, 1.0]);
        // (3 - 4) / (4 - (1 - 1) / 2) and (-1 - 1) / 4.
        let targeted = ApgdLoss::TargetedDlr { targets: 1 };
        assert_eq!(found(targeted, Goal::untargeted([0, 1])), [-0.25, -0.5]);
    }
}
