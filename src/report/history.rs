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
    /// Accuracy over the same images under the attack that the epoch is chosen by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attacked_accuracy: Option<f64>,
}

/// The epochs of one training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The epochs, in order.
    pub epochs: Vec<EpochMetrics>,
    /// The epoch whose weights were kept, if not the last.
    pub best_epoch: Option<usize>,
    /// What was seen, in words, if training overfitted to its own attack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overfitting: Option<String>,
}

#[cfg(feature = "train")]
impl History {
    /// Of a finished training.
    pub fn of<M>(trained: &crate::train::Trained<M>) -> Self {
        let epoch = |record: &crate::train::EpochRecord| EpochMetrics {
            epoch: record.epoch,
            train_loss: Some(record.train_loss),
            train_accuracy: Some(record.train_accuracy),
            validation_loss: Some(record.validation_loss),
            validation_accuracy: Some(record.validation_accuracy),
            attacked_accuracy: record.attacked.map(|attacked| attacked.accuracy),
        };
        let epochs = trained.history.epochs.iter().map(epoch).collect();
        let overfitting = trained.history.overfitting().map(|overfitting| overfitting.to_string());
        Self { epochs, best_epoch: Some(trained.best_epoch), overfitting }
    }
}
