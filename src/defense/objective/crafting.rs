//! In which mode a network is crafted on.

use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::classifier::Frozen;

/// The mode of the network that is trained, while images are crafted on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crafting {
    /// Batch norm by its running statistics, which crafting leaves alone: an image's result does not depend
    /// on its neighbors, and the training pass alone moves the statistics.
    Evaluation,
    /// Batch norm by the batch's statistics, and every step of crafting moves the running ones, towards those
    /// of images on their way to becoming adversarial. An image's result depends on its batch.
    Training,
}

impl Crafting {
    /// The step's network in this mode.
    pub fn victim<'a>(self, step: &'a Step<'_>) -> &'a Frozen {
        match self {
            Self::Evaluation => step.victim(),
            Self::Training => step.victim_in_training(),
        }
    }
}
