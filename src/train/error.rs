//! What can end a training before its last epoch.

use std::path::PathBuf;

use thiserror::Error;

use crate::data::DataError;
use crate::defense::DefenseError;
use crate::parameter::ParameterError;

/// What ended a training before its last epoch, or kept it from starting.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A field of [`TrainingConfig`](super::TrainingConfig) is out of its documented range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The folder holds a training that has not ended.
    #[error(
        "{directory}: expected no unfinished training, found one after epoch {epoch} of {epochs}; \
         resume it, or remove the folder",
        directory = directory.display()
    )]
    Unfinished {
        /// The folder.
        directory: PathBuf,
        /// Its last whole epoch.
        epoch: usize,
        /// The epochs it was to run.
        epochs: usize,
    },
    /// The folder holds a training with other settings than those to resume with.
    #[error(
        "{directory}: cannot resume with other settings: {setting} was {found}, expected {expected}",
        directory = directory.display()
    )]
    OtherSettings {
        /// The folder.
        directory: PathBuf,
        /// The first setting that differs.
        setting: String,
        /// The value asked for now.
        expected: String,
        /// The value in the folder.
        found: String,
    },
    /// A file of the training's folder could not be read or written.
    #[error("{path}: expected {expected}, found: {found}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What it should have been.
        expected: &'static str,
        /// The system's or the parser's answer.
        found: String,
    },
    /// Somebody stopped the training; its checkpoints are whole.
    #[error("stopped after epoch {epoch} of {epochs}; resume to go on")]
    Interrupted {
        /// The last whole epoch, 0 if none.
        epoch: usize,
        /// The epochs it was to run.
        epochs: usize,
    },
    /// The loss became NaN or infinite.
    #[error("the loss in epoch {epoch} is {loss}: expected a finite number; try a lower learning rate")]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The loss.
        loss: f64,
    },
    /// The images could not be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An image could not be loaded while training; burn's loaders hand on the message alone.
    #[error("{0}")]
    Images(String),
    /// A defense could not be applied.
    #[error(transparent)]
    Defense(#[from] DefenseError),
    /// A set without images.
    #[error("{side} images: expected at least one, found none")]
    Empty {
        /// `training` or `validation`.
        side: &'static str,
    },
    /// Validation images of other classes than the training images, or of the same ones in another order:
    /// their labels would mean something else.
    #[error("validation images: expected the training images' classes {training:?}, found {validation:?}")]
    Classes {
        /// Classes of the training images, in the order of their labels.
        training: Vec<String>,
        /// Classes of the validation images.
        validation: Vec<String>,
    },
    /// A network with another number of outputs than there are classes.
    #[error("network: expected an output for each of the classes {classes:?}, found {outputs}")]
    Outputs {
        /// Classes of the images.
        classes: Vec<String>,
        /// Outputs of the network.
        outputs: usize,
    },
    /// burn-train stopped.
    #[error("training stopped: {0}")]
    Backend(String),
}
