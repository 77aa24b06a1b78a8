//! How a training went, epoch by epoch.

use serde::{Deserialize, Serialize};

/// One epoch of training. Accuracies in \[0,1\]; `None` where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Mean cross-entropy over the training images.
    pub train_loss: Option<f64>,
    /// Accuracy over the training images.
    pub train_accuracy: Option<f64>,
    /// Mean cross-entropy over the validation images.
    pub validation_loss: Option<f64>,
    /// Accuracy over the validation images.
    pub validation_accuracy: Option<f64>,
}

/// The epochs of one training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The epochs, in order.
    pub epochs: Vec<EpochMetrics>,
    /// The epoch whose weights were kept, if not the last.
    pub best_epoch: Option<usize>,
}
