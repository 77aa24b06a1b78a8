//! The settings of a training run.

use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::data::{Augmentation, Prepared};
use crate::parameter::{self, Parameter};

/// How the learning rate goes on after the first step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The same in every step, as in the paper.
    #[default]
    Constant,
    /// Down to zero over all epochs along half a cosine (Loshchilov & Hutter, ICLR 2017), which spares short
    /// runs the ups and downs of a last epoch at full rate.
    Cosine,
}

/// The settings of a training run; all of them are in the report.
///
/// | field | paper | range |
/// | --- | --- | --- |
/// | epochs | 400 | at least 1 |
/// | batch_size | 32 | at least 1 |
/// | learning_rate | 0.001 | finite, above 0; at most 1 with the cosine |
/// | image_size | 224 | 29, what a DenseNet needs, to 4096 |
/// | augmentation | left open; random resized crops and flips | see [`Augmentation`] |
/// | schedule | constant | constant, cosine |
/// | beta_1, beta_2, epsilon | 0.9, 0.999, 1e-8, PyTorch's Adam | \[0,1), \[0,1), above 0 |
/// | cache_bytes | 2 GiB of decoded images | any |
///
/// ```
/// use histoguard::train::TrainingConfig;
///
/// let quick = TrainingConfig { epochs: 12, ..TrainingConfig::paper() };
/// assert_eq!((quick.batch_size, quick.learning_rate), (32, 1e-3));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingConfig {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images a step; a last batch that is smaller is dropped when there is a full one.
    pub batch_size: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// How the step size goes on.
    pub schedule: Schedule,
    /// Adam's decay of the gradient's mean.
    pub beta_1: f64,
    /// Adam's decay of the gradient's mean square.
    pub beta_2: f64,
    /// Adam's guard against division by zero.
    pub epsilon: f64,
    /// Side of the square images, in pixels.
    pub image_size: usize,
    /// Augmentation of the training images; none if `None`.
    pub augmentation: Option<Augmentation>,
    /// Seed of the image order and of the augmentation.
    pub seed: u64,
    /// Decoded images kept in memory, in bytes.
    pub cache_bytes: usize,
}

impl TrainingConfig {
    /// The paper's settings (section 2.3): 400 epochs, batches of 32, Adam at 0.001, 224x224.
    pub fn paper() -> Self {
        Self {
            epochs: 400,
            batch_size: 32,
            learning_rate: 1e-3,
            schedule: Schedule::Constant,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            image_size: 224,
            augmentation: Some(Augmentation::paper()),
            seed: 0,
            cache_bytes: 2 << 30,
        }
    }

    /// Refuses settings outside their documented ranges.
    ///
    /// # Errors
    ///
    /// [`TrainError::Parameter`] naming the first one, [`TrainError::Data`] for one of the augmentation.
    pub fn check(&self) -> Result<(), TrainError> {
        let decay =
            |name, beta: f64| Parameter::new(name, "a number in [0,1)", (0.0..1.0).contains(&beta), beta);
        let most = if self.schedule == Schedule::Cosine { 1.0 } else { f64::INFINITY };
        let sizes = 29..=Prepared::MAX_IMAGE_SIZE;
        parameter::check([
            Parameter::at_least("epochs", self.epochs, 1),
            Parameter::at_least("batch_size", self.batch_size, 1),
            Parameter::above_zero("learning_rate", self.learning_rate),
            Parameter::new(
                "learning_rate",
                "at most 1 with the cosine schedule",
                self.learning_rate <= most,
                self.learning_rate,
            ),
            decay("beta_1", self.beta_1),
            decay("beta_2", self.beta_2),
            Parameter::above_zero("epsilon", self.epsilon),
            Parameter::new(
                "image_size",
                "29 to 4096 pixels",
                sizes.contains(&self.image_size),
                self.image_size,
            ),
        ])?;
        Ok(self.augmentation.map_or(Ok(()), |augmentation| augmentation.validate())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_ranges_are_the_checked_ones() {
        let paper = TrainingConfig::paper();
        assert!(paper.check().is_ok());
        let bad = [
            ("epochs", TrainingConfig { epochs: 0, ..paper.clone() }),
            ("batch_size", TrainingConfig { batch_size: 0, ..paper.clone() }),
            ("learning_rate", TrainingConfig { learning_rate: f64::NAN, ..paper.clone() }),
            ("learning_rate", TrainingConfig { learning_rate: 0.0, ..paper.clone() }),
            (
                "learning_rate",
                TrainingConfig { learning_rate: 1.1, schedule: Schedule::Cosine, ..paper.clone() },
            ),
            ("beta_1", TrainingConfig { beta_1: 1.0, ..paper.clone() }),
            ("beta_2", TrainingConfig { beta_2: -0.1, ..paper.clone() }),
            ("epsilon", TrainingConfig { epsilon: 0.0, ..paper.clone() }),
            ("image_size", TrainingConfig { image_size: 28, ..paper.clone() }),
        ];
        for (name, config) in bad {
            let error = config.check().unwrap_err();
            assert!(
                matches!(&error, TrainError::Parameter(error) if error.parameter == name),
                "{name}: {error}"
            );
        }
        assert!(TrainingConfig { image_size: 29, beta_1: 0.0, ..paper }.check().is_ok());
    }
}
