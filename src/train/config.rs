//! The settings of a training run.

use serde::{Deserialize, Serialize};

use super::{Optimizer, Schedule, TrainError};
use crate::data::{Augmentation, Prepared};
use crate::parameter::{self, Parameter};

/// The settings of a training run; all of them are in the report.
///
/// | field | paper | range |
/// | --- | --- | --- |
/// | epochs | 400 | at least 1 |
/// | batch_size | 32 | at least 1; at least 2 where a batch norm would see one value a channel |
/// | learning_rate | 0.001 | finite, above 0; at most 1 unless the schedule is constant |
/// | image_size | 224 | 29, what a DenseNet needs, to 4096 |
/// | augmentation | left open; random resized crops and flips | see [`Augmentation`] |
/// | schedule | constant | see [`Schedule`] |
/// | optimizer | Adam | see [`Optimizer`] |
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
    /// Images a step; a last batch that is smaller is dropped when there is a full one (PyTorch's
    /// `drop_last`).
    pub batch_size: usize,
    /// The length of a step.
    pub learning_rate: f64,
    /// How it goes on.
    pub schedule: Schedule,
    /// How weights follow their gradients.
    pub optimizer: Optimizer,
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
            optimizer: Optimizer::ADAM,
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
        let sizes = 29..=Prepared::MAX_IMAGE_SIZE;
        parameter::check([
            Parameter::at_least("epochs", self.epochs, 1),
            Parameter::at_least("batch_size", self.batch_size, 1),
            Parameter::above_zero("learning_rate", self.learning_rate),
            Parameter::new(
                "image_size",
                "29 to 4096 pixels",
                sizes.contains(&self.image_size),
                self.image_size,
            ),
        ])?;
        parameter::check(self.schedule.parameters(self.learning_rate))?;
        parameter::check(self.optimizer.parameters())?;
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
        let with = |optimizer| TrainingConfig { optimizer, ..paper.clone() };
        let adam =
            |beta_1, beta_2, epsilon| with(Optimizer::Adam { beta_1, beta_2, epsilon, weight_decay: 0.0 });
        let sgd =
            |momentum, nesterov, weight_decay| with(Optimizer::Sgd { momentum, nesterov, weight_decay });
        let bad = [
            ("epochs", TrainingConfig { epochs: 0, ..paper.clone() }),
            ("batch_size", TrainingConfig { batch_size: 0, ..paper.clone() }),
            ("learning_rate", TrainingConfig { learning_rate: f64::NAN, ..paper.clone() }),
            ("learning_rate", TrainingConfig { learning_rate: 0.0, ..paper.clone() }),
            (
                "learning_rate",
                TrainingConfig { learning_rate: 1.1, schedule: Schedule::Cosine, ..paper.clone() },
            ),
            ("beta_1", adam(1.0, 0.999, 1e-8)),
            ("beta_2", adam(0.9, -0.1, 1e-8)),
            ("epsilon", adam(0.9, 0.999, 0.0)),
            ("momentum", sgd(1.0, false, 0.0)),
            ("nesterov", sgd(0.0, true, 0.0)),
            ("weight_decay", sgd(0.9, true, -1e-4)),
            ("image_size", TrainingConfig { image_size: 28, ..paper.clone() }),
        ];
        for (name, config) in bad {
            let error = config.check().unwrap_err();
            assert!(
                matches!(&error, TrainError::Parameter(error) if error.parameter == name),
                "{name}: {error}"
            );
        }
        assert!(TrainingConfig { image_size: 29, ..adam(0.0, 0.0, 1e-8) }.check().is_ok());
    }
}
