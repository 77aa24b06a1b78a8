//! Why an attack refused to start, or stopped.

use thiserror::Error;

use crate::classifier::ClassifierError;
use crate::parameter::ParameterError;

/// Why an attack refused to start, or stopped; it names what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum AttackError {
    /// A parameter of the attack is out of its documented range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The victim cannot be attacked, or not on these images.
    #[error(transparent)]
    Classifier(#[from] ClassifierError),
    /// Not one label an image.
    #[error("expected one label an image: {images} images, found {labels} labels")]
    Count {
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A label that the victim does not have.
    #[error("{role} of image {image}: expected a class below {classes}, found {found}")]
    Label {
        /// `label` or `target`.
        role: &'static str,
        /// Position of the image in the batch.
        image: usize,
        /// The victim's number of classes.
        classes: usize,
        /// The label given.
        found: i64,
    },
    /// A target that is already the true class.
    #[error("target of image {image}: expected a class other than the true class {class}, found the same")]
    TargetIsTrueClass {
        /// Position of the image in the batch.
        image: usize,
        /// The class.
        class: usize,
    },
    /// A pixel outside \[0,1\], or one that is NaN.
    #[error(
        "pixels of image {image}: expected values in [0,1], found {value} \
         (scale 8-bit images by 1/255; normalisation belongs inside the classifier)"
    )]
    ImageRange {
        /// Position of the image in the batch.
        image: usize,
        /// The first value found outside.
        value: f32,
    },
    /// Another reason, in an attack's own words.
    #[error("{0}")]
    Other(String),
    /// A stop was asked for through [`Watch::stop`](crate::classifier::Watch::stop).
    #[error("stopped on request")]
    Stopped,
}
