//! Loss and accuracy over the epochs.

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Means over one epoch; training values are taken in training mode, as the epoch goes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Mean cross-entropy of the training images, in nats.
    pub train_loss: f64,
    /// Share of training images that were right, in \[0,1\].
    pub train_accuracy: f64,
    /// Mean cross-entropy of the validation images, in nats.
    pub validation_loss: f64,
    /// Share of validation images that were right, in \[0,1\].
    pub validation_accuracy: f64,
}

/// All epochs of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// One record an epoch, from epoch 1.
    pub epochs: Vec<EpochRecord>,
    /// Seconds that each epoch took; apart from the records, so that those are reproducible.
    pub seconds: Vec<f64>,
}

impl History {
    /// The epoch with the best validation accuracy, the lower validation loss deciding ties, then the earlier.
    pub fn best(&self) -> Option<EpochRecord> {
        self.best_until(self.epochs.len())
    }

    /// The best of the first epochs.
    pub(super) fn best_until(&self, epoch: usize) -> Option<EpochRecord> {
        let better = |a: &EpochRecord, b: &EpochRecord| {
            let accuracy = a.validation_accuracy.total_cmp(&b.validation_accuracy);
            accuracy.then(b.validation_loss.total_cmp(&a.validation_loss)).is_gt()
        };
        self.epochs
            .iter()
            .take(epoch)
            .copied()
            .reduce(|best, record| if better(&record, &best) { record } else { best })
    }

    /// Forgets everything after `epoch`.
    pub(super) fn truncate(&mut self, epoch: usize) {
        self.epochs.truncate(epoch);
        self.seconds.truncate(epoch);
    }
}

/// Sums over the batches of one epoch.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    loss: f64,
    right: usize,
    images: usize,
}

impl Sums {
    fn mean(&self) -> (f64, f64) {
        let images = self.images.max(1) as f64;
        (self.loss / images, self.right as f64 / images)
    }
}

/// Gathers the epochs while they run.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) history: History,
    train: Sums,
    validation: Sums,
    started: Instant,
}

impl Recorder {
    pub(super) fn new(history: History) -> Self {
        Self { history, train: Sums::default(), validation: Sums::default(), started: Instant::now() }
    }

    pub(super) fn add(&mut self, training: bool, mean_loss: f64, right: usize, images: usize) {
        let sums = if training { &mut self.train } else { &mut self.validation };
        sums.loss += mean_loss * images as f64;
        sums.right += right;
        sums.images += images;
    }

    pub(super) fn end_epoch(&mut self, epoch: usize) -> EpochRecord {
        let (train_loss, train_accuracy) = self.train.mean();
        let (validation_loss, validation_accuracy) = self.validation.mean();
        let record = EpochRecord { epoch, train_loss, train_accuracy, validation_loss, validation_accuracy };
        self.history.epochs.push(record);
        self.history.seconds.push(self.started.elapsed().as_secs_f64());
        *self = Self::new(std::mem::take(&mut self.history));
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_is_by_accuracy_then_loss_then_the_earlier() {
        let record = |epoch, validation_accuracy, validation_loss| EpochRecord {
            epoch,
            train_loss: 0.0,
            train_accuracy: 0.0,
            validation_loss,
            validation_accuracy,
        };
        let history = |epochs| History { epochs, seconds: Vec::new() };
        assert_eq!(History::default().best(), None);
        let best =
            history(vec![record(1, 0.5, 0.1), record(2, 0.9, 0.8), record(3, 0.9, 0.3), record(4, 0.9, 0.3)]);
        assert_eq!(best.best().unwrap().epoch, 3);
    }

    #[test]
    fn means_weigh_every_image_the_same() {
        let mut recorder = Recorder::new(History::default());
        recorder.add(true, 1.0, 3, 3);
        recorder.add(true, 2.0, 0, 1);
        recorder.add(false, 0.5, 1, 2);
        let record = recorder.end_epoch(1);
        assert_eq!((record.train_loss, record.train_accuracy), (1.25, 0.75));
        assert_eq!((record.validation_loss, record.validation_accuracy), (0.5, 0.5));
        assert_eq!(recorder.end_epoch(2).train_loss, 0.0, "sums start anew");
    }
}
