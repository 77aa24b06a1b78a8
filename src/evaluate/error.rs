//! Why an evaluation stopped.

use std::path::PathBuf;

use thiserror::Error;

use crate::attack::AttackError;
use crate::classifier::ClassifierError;
use crate::data::DataError;
use crate::defense::smoothing::SmoothingError;
use crate::parameter::ParameterError;

/// Why an evaluation stopped; it names what was expected and what was found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A parameter is out of its documented range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The classifier cannot be attacked, or not on these images.
    #[error(transparent)]
    Classifier(#[from] ClassifierError),
    /// No image to evaluate.
    #[error("expected at least one image, found none")]
    Empty,
    /// The classifier does not have the data set's classes.
    #[error("expected a classifier with the data set's {expected} classes, found one with {found}")]
    Classes {
        /// Number of classes of the data set.
        expected: usize,
        /// Number of classes of the classifier.
        found: usize,
    },
    /// The classifier or the attack returned a tensor of another shape.
    #[error("{what}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// Whose output.
        what: &'static str,
        /// The shape that it should have.
        expected: Vec<usize>,
        /// The shape that it has.
        found: Vec<usize>,
    },
    /// A pixel outside \[0,1\], or one that is NaN.
    #[error(
        "{image}: expected pixels in [0,1], found {value} \
         (scale 8-bit images by 1/255; normalisation belongs inside the classifier)"
    )]
    Pixels {
        /// The image's name.
        image: String,
        /// The first value found outside.
        value: f32,
    },
    /// Runs that cannot be pooled.
    #[error("pooling run {run}: expected the first run's {what}, {expected}, found {found}")]
    Pool {
        /// Position of the run that differs.
        run: usize,
        /// What differs.
        what: &'static str,
        /// The first run's.
        expected: String,
        /// This run's.
        found: String,
    },
    /// The folder of [`resume_from`](super::Run::resume_from) cannot be used.
    #[error("{path}: expected {expected}, found {found}", path = path.display())]
    State {
        /// The folder or a file in it.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// An image could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An attack refused to start.
    #[error("{attack}: {source}")]
    Attack {
        /// The attack's name.
        attack: String,
        /// Why.
        source: AttackError,
    },
    /// An image could not be smoothed.
    #[error("{image}: {source}")]
    Smoothing {
        /// The image's name.
        image: String,
        /// Why.
        source: SmoothingError,
    },
    /// The cancel flag was set.
    #[error("evaluation cancelled after {done} of {total} image passes")]
    Cancelled {
        /// Passes done.
        done: usize,
        /// Passes that a whole run takes.
        total: usize,
    },
}
