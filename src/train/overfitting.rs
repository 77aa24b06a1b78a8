//! What tells that adversarial training has overfitted to its own attack.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::record::EpochRecord;

/// How far the accuracy under attack falls below the best of the epochs before (fast_adversarial's `train_cifar.py`,
/// `--early-stop`).
const FALL: f64 = 0.2;

/// What is left of the gradients' best alignment where they have turned apart.
const TURNED: f64 = 0.5;

/// Catastrophic overfitting (Wong, Rice & Kolter, ICLR 2020, section 5.4): within an epoch the network learns to answer single steps,
/// and loses what it had learned against an attack of several.
///
/// It is said where the accuracy under attack has fallen by more than 0.2 below the best of the epochs before, and at least one
/// of the other two signs is there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overfitting {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The best accuracy under attack of the epochs before.
    pub before: f64,
    /// That of this epoch.
    pub after: f64,
    /// Whether more images are right after an FGSM step than without: label leaking (Kurakin, Goodfellow & Bengio, ICLR 2017).
    pub fgsm_above_clean: bool,
    /// Whether gradients at an image and near it have turned apart: their alignment is less than half of the best before.
    pub gradients_turned: bool,
}

impl Overfitting {
    /// What burn-train is told where it ends a run.
    pub(super) const REASON: &str = "catastrophic overfitting";

    pub(super) fn of(earlier: &[EpochRecord], record: &EpochRecord) -> Option<Self> {
        let attacked = record.attacked?;
        let best = |value: fn(&EpochRecord) -> Option<f64>| earlier.iter().filter_map(value).reduce(f64::max);
        let before = best(|record| Some(record.attacked?.accuracy))?;
        let aligned = best(|record| record.attacked?.alignment);
        let overfitting = Self {
            epoch: record.epoch,
            before,
            after: attacked.accuracy,
            fgsm_above_clean: attacked.fgsm_accuracy > record.validation_accuracy,
            gradients_turned: attacked.alignment.zip(aligned).is_some_and(|(now, best)| now < TURNED * best),
        };
        let signs = overfitting.fgsm_above_clean || overfitting.gradients_turned;
        (signs && overfitting.after < before - FALL).then_some(overfitting)
    }
}

impl fmt::Display for Overfitting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, before, after, fgsm_above_clean, gradients_turned } = self;
        write!(
            f,
            "catastrophic overfitting in epoch {epoch}: accuracy under attack fell from {:.1} to {:.1} %",
            100.0 * before,
            100.0 * after
        )?;
        if *fgsm_above_clean {
            write!(f, ", one FGSM step makes more images right than wrong")?;
        }
        if *gradients_turned {
            write!(f, ", gradients near an image have turned away from those at it")?;
        }
        Ok(())
    }
}
