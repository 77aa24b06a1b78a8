//! The trait for defenses that act on the training images.

use std::fmt::Debug;

use thiserror::Error;

use crate::classifier::Classifier;
use crate::data::Batch;
use crate::parameter::ParameterError;

/// A change of every training batch: noise, adversarial training, and the like.
pub trait TrainTransform: Debug + Send + Sync {
    /// The transform's name in reports.
    fn name(&self) -> &'static str;

    /// Refuses bad parameters, before training starts.
    ///
    /// # Errors
    ///
    /// [`DefenseError::Parameter`] naming the parameter and its range.
    fn check(&self) -> Result<(), DefenseError>;

    /// The transform with all its parameters, for reports.
    fn describe(&self) -> serde_json::Value;

    /// The batch to train on instead. Randomness is drawn an image from the transform's seed, the batch's
    /// epoch and the image's index, so that results do not depend on the batch size.
    ///
    /// # Errors
    ///
    /// [`DefenseError`] on a parameter out of its range or an attack that refuses.
    fn apply(&self, model: &dyn Classifier, batch: Batch) -> Result<Batch, DefenseError>;
}

/// Why a defense could not be applied.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum DefenseError {
    /// A parameter is out of its documented range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// An attack inside the defense refused to start.
    #[error(transparent)]
    Attack(#[from] crate::attack::AttackError),
}
