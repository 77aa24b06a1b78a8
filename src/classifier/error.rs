//! Why a classifier cannot be attacked.

use thiserror::Error;

/// Why a classifier cannot be attacked, or not on these images.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClassifierError {
    /// With fewer than two classes there is no other answer.
    #[error(
        "expected a classifier of at least two classes, found one of {found} \
         (`SingleLogit` makes two classes of a network with one output)"
    )]
    Classes {
        /// Its number of classes.
        found: usize,
    },
    /// Images that it cannot look at.
    #[error("expected images of {expected}, found {} channels and {}x{} pixels", found[0], found[1], found[2])]
    Images {
        /// What it looks at.
        expected: String,
        /// Channels, height and width.
        found: [usize; 3],
    },
    /// An answer of another shape than one logit an image and class.
    #[error("answer to {} image: expected logits of shape {expected:?}, found {found:?}", expected[0])]
    Answer {
        /// Images and classes.
        expected: [usize; 2],
        /// The shape of the answer.
        found: [usize; 2],
    },
}
