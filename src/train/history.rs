//! Loss and accuracy over the epochs.

use serde::{Deserialize, Serialize};
use web_time::Instant;

use super::overfitting::Overfitting;
use super::record::EpochRecord;
use super::validation::AttackedSums;
use crate::pixels::round;

/// All epochs of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// One record an epoch, from epoch 1.
    pub epochs: Vec<EpochRecord>,
    /// Seconds that each epoch took; apart from the records, so that those are reproducible.
    pub seconds: Vec<f64>,
}

impl History {
    /// The epoch with the best validation accuracy under attack, where that was measured; then the accuracy
    /// without attack, the lower validation loss and the earlier epoch decide. Epochs from a catastrophic one
    /// on are left out.
    pub fn best(&self) -> Option<EpochRecord> {
        self.best_until(self.epochs.len())
    }

    /// The first epoch in which training overfitted to its own attack, with what tells it.
    pub fn overfitting(&self) -> Option<Overfitting> {
        (1..self.epochs.len()).find_map(|at| Overfitting::of(&self.epochs[..at], &self.epochs[at]))
    }

    /// The best of the first epochs.
    pub(super) fn best_until(&self, epoch: usize) -> Option<EpochRecord> {
        let better = |a: &EpochRecord, b: &EpochRecord| {
            let under_attack =
                |record: &EpochRecord| record.attacked.map_or(0.0, |attacked| attacked.accuracy);
            let attacked = under_attack(a).total_cmp(&under_attack(b));
            let accuracy = a.validation_accuracy.total_cmp(&b.validation_accuracy);
            attacked.then(accuracy).then(b.validation_loss.total_cmp(&a.validation_loss)).is_gt()
        };
        let sound = self.overfitting().map_or(usize::MAX, |overfitting| overfitting.epoch - 1);
        self.epochs
            .iter()
            .take(epoch.min(sound))
            .copied()
            .reduce(|best, record| if better(&record, &best) { record } else { best })
    }

    /// Whether this can have been measured; what does not fit, if not.
    pub(super) fn check(&self) -> Result<(), String> {
        let (epochs, seconds) = (self.epochs.len(), self.seconds.len());
        if epochs != seconds {
            return Err(format!("{epochs} epochs and the durations of {seconds}"));
        }
        if let Some(bad) = self.seconds.iter().find(|seconds| !(0.0..=f64::MAX).contains(*seconds)) {
            return Err(format!("an epoch of {bad} seconds"));
        }
        self.epochs.iter().enumerate().try_for_each(|(at, record)| match record.epoch == at + 1 {
            true => record.check().map_err(|found| format!("{found} in epoch {}", at + 1)),
            false => Err(format!("epoch {} in place {}", record.epoch, at + 1)),
        })
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
        (round(self.loss / images), round(self.right as f64 / images))
    }
}

/// Gathers the epochs while they run.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) history: History,
    train: Sums,
    validation: Sums,
    attacked: AttackedSums,
    started: Instant,
}

impl Recorder {
    pub(super) fn new(history: History) -> Self {
        let (train, validation) = (Sums::default(), Sums::default());
        Self { history, train, validation, attacked: AttackedSums::default(), started: Instant::now() }
    }

    pub(super) fn add(&mut self, training: bool, mean_loss: f64, right: usize, images: usize) {
        let sums = if training { &mut self.train } else { &mut self.validation };
        sums.loss += mean_loss * images as f64;
        sums.right += right;
        sums.images += images;
    }

    pub(super) fn add_attacked(&mut self, more: AttackedSums) {
        self.attacked.add(more);
    }

    pub(super) fn end_epoch(&mut self, epoch: usize) -> EpochRecord {
        let (train_loss, train_accuracy) = self.train.mean();
        let (validation_loss, validation_accuracy) = self.validation.mean();
        let attacked = self.attacked.mean();
        let record =
            EpochRecord { epoch, train_loss, train_accuracy, validation_loss, validation_accuracy, attacked };
        self.history.epochs.push(record);
        self.history.seconds.push(self.started.elapsed().as_secs_f64());
        *self = Self::new(std::mem::take(&mut self.history));
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::record::Attacked;

    fn record(epoch: usize, validation_accuracy: f64, validation_loss: f64) -> EpochRecord {
        let (train_loss, train_accuracy) = (0.0, 0.0);
        EpochRecord {
            epoch,
            train_loss,
            train_accuracy,
            validation_loss,
            validation_accuracy,
            attacked: None,
        }
    }

    fn history(epochs: Vec<EpochRecord>) -> History {
        History { epochs, seconds: Vec::new() }
    }

    #[test]
    fn best_is_by_accuracy_then_loss_then_the_earlier() {
        assert_eq!(History::default().best(), None);
        let best =
            history(vec![record(1, 0.5, 0.1), record(2, 0.9, 0.8), record(3, 0.9, 0.3), record(4, 0.9, 0.3)]);
        assert_eq!(best.best().unwrap().epoch, 3);
    }

    #[test]
    fn accuracy_under_attack_comes_first_and_a_catastrophe_never_counts() {
        let attacked = |epoch, clean, accuracy, fgsm_accuracy, alignment| EpochRecord {
            attacked: Some(Attacked { accuracy, fgsm_accuracy, alignment: Some(alignment) }),
            ..record(epoch, clean, 0.5)
        };
        let sound = vec![
            attacked(1, 0.7, 0.4, 0.5, 0.9),
            attacked(2, 0.9, 0.3, 0.4, 0.8),
            attacked(3, 0.8, 0.4, 0.5, 0.8),
        ];
        assert_eq!(
            history(sound.clone()).best().unwrap().epoch,
            3,
            "the higher clean accuracy decides a tie"
        );
        assert_eq!(history(sound.clone()).overfitting(), None);

        // The figures of fast_adversarial's README: clean up, FGSM up, PGD to nothing; and what comes after.
        let broken =
            [sound, vec![attacked(4, 0.95, 0.0, 0.97, 0.1), attacked(5, 0.9, 0.6, 0.6, 0.9)]].concat();
        let overfitting = history(broken.clone()).overfitting().unwrap();
        assert_eq!(
            (overfitting.epoch, overfitting.fgsm_above_clean, overfitting.gradients_turned),
            (4, true, true)
        );
        assert_eq!(history(broken).best().unwrap().epoch, 3);
    }

    #[test]
    fn what_nobody_can_have_measured_is_told() {
        let sound =
            History { epochs: vec![record(1, 0.5, 0.1), record(2, 1.0, 0.0)], seconds: vec![0.0, 3.5] };
        assert_eq!(sound.check(), Ok(()));
        let attacked = |alignment| Attacked { accuracy: 0.5, fgsm_accuracy: 0.5, alignment: Some(alignment) };
        let last = |record: EpochRecord| History { epochs: vec![sound.epochs[0], record], ..sound.clone() };
        for (history, found) in [
            (History { seconds: vec![1.0], ..sound.clone() }, "2 epochs and the durations of 1"),
            (History { seconds: vec![1.0, -1.0], ..sound.clone() }, "an epoch of -1 seconds"),
            (last(record(0, 0.5, 0.1)), "epoch 0 in place 2"),
            (last(record(2, 1.5, 0.1)), "an accuracy of 1.5 in epoch 2"),
            (last(record(2, 0.5, f64::INFINITY)), "a loss of inf in epoch 2"),
            (
                last(EpochRecord { attacked: Some(attacked(-2.0)), ..record(2, 0.5, 0.1) }),
                "an alignment of -2 in epoch 2",
            ),
        ] {
            assert_eq!(history.check(), Err(found.to_string()));
        }
    }

    #[test]
    fn means_weigh_every_image_the_same() {
        let mut recorder = Recorder::new(History::default());
        recorder.add(true, 1.0, 3, 3);
        recorder.add(true, 2.0, 0, 1);
        recorder.add(false, 0.5, 1, 2);
        recorder.add_attacked(AttackedSums { images: 3, right: 1, fgsm_right: 2, cosines: 0.5, turned: 1 });
        recorder.add_attacked(AttackedSums { images: 1, right: 0, fgsm_right: 1, cosines: 0.1, turned: 1 });
        let record = recorder.end_epoch(1);
        assert_eq!((record.train_loss, record.train_accuracy), (1.25, 0.75));
        assert_eq!((record.validation_loss, record.validation_accuracy), (0.5, 0.5));
        let attacked = Attacked { accuracy: 0.25, fgsm_accuracy: 0.75, alignment: Some(0.3) };
        assert_eq!(record.attacked, Some(attacked));
        let next = recorder.end_epoch(2);
        assert_eq!((next.train_loss, next.attacked), (0.0, None), "sums start anew");
    }
}
