//! From a generator's outputs to perturbations within a budget.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::pixels::Budget;

/// How a generator's outputs, from -1 to 1, become perturbations within the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bounding {
    /// Times the budget: gradients reach the generator everywhere.
    Scale,
    /// Cut off at the budget, as in mathcbc's code, there at 0.3: what is cut off has no gradient.
    Clip,
}

impl Bounding {
    /// The perturbation of these outputs `[batch, channels, height, width]`.
    pub(super) fn apply(self, outputs: Tensor<4>, budget: Budget) -> Tensor<4> {
        match self {
            Self::Scale => outputs * budget.size(),
            Self::Clip => outputs.clamp(-budget.size(), budget.size()),
        }
    }
}
