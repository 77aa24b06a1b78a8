//! Why smoothing refused to start, or stopped.

use thiserror::Error;

use crate::parameter::ParameterError;

/// Why smoothing refused to start, or stopped; it names what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum SmoothingError {
    /// A setting is out of its documented range, or can only ever abstain.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// Not one index an image.
    #[error("expected one index an image: {images} images, found {indices} indices")]
    Count {
        /// Number of images.
        images: usize,
        /// Number of indices.
        indices: usize,
    },
    /// A pixel outside \[0,1\], or NaN.
    #[error(
        "pixels of image {image}: expected values in [0,1], found {value} \
         (scale 8-bit images by 1/255; normalisation belongs inside the classifier)"
    )]
    ImageRange {
        /// The image's row in the batch.
        image: usize,
        /// The first such value.
        value: f32,
    },
    /// Draws to go on from that are not of this image, classifier or settings.
    #[error("draws of an unfinished image: expected {expected}, found {found}")]
    Unfinished {
        /// What these settings, classifier and image give.
        expected: String,
        /// What the draws are of.
        found: String,
    },
    /// A stop was asked for through [`Watch::stop`](crate::classifier::Watch::stop).
    #[error("stopped on request")]
    Stopped,
}
