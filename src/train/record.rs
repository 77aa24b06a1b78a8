//! What was measured in one epoch.

use serde::{Deserialize, Serialize};

/// Means over one epoch, to 12 significant digits, so that a resumed run reads back what it wrote; training
/// values are taken in training mode, as the epoch goes.
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
    /// The same images under attack, where the epoch is chosen by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attacked: Option<Attacked>,
}

/// Validation images under attack.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attacked {
    /// Share of them that were right and stayed so, in \[0,1\].
    pub accuracy: f64,
    /// Share of them that are right after one FGSM step of the attack's budget, in \[0,1\], whatever they
    /// were before.
    pub fgsm_accuracy: f64,
    /// Mean cosine between the loss's gradients at an image and at a random point of the ball around it, in
    /// \[-1,1\], over those whose gradients are not zero: near 1 where the loss is locally linear, and
    /// falling towards 0 where training has overfitted to single steps (Andriushchenko & Flammarion, NeurIPS
    /// 2020, figure 4). `None` if all are zero.
    pub alignment: Option<f64>,
}

impl EpochRecord {
    /// Whether this can have been measured; what does not fit, if not.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { train_loss, train_accuracy, validation_loss, validation_accuracy, attacked, .. } = *self;
        let of_attack = attacked.map(|attacked| [attacked.accuracy, attacked.fgsm_accuracy]);
        let shares = [train_accuracy, validation_accuracy].into_iter().chain(of_attack.into_iter().flatten());
        let losses = [train_loss, validation_loss].into_iter().map(|loss| ("a loss", loss, loss.is_finite()));
        let accuracies = shares.map(|share| ("an accuracy", share, (0.0..=1.0).contains(&share)));
        // Cosines that are summed in single precision can pass 1 by as little as that is.
        let alignment = attacked.and_then(|attacked| attacked.alignment);
        let alignment = alignment.map(|cosine| ("an alignment", cosine, cosine.abs() <= 1.001));
        match losses.chain(accuracies).chain(alignment).find(|(_, _, fits)| !fits) {
            Some((what, value, _)) => Err(format!("{what} of {value}")),
            None => Ok(()),
        }
    }
}
