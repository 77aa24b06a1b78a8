//! Why a detector could not be made, calibrated or judged.

use thiserror::Error;

use crate::attack::AttackError;
use crate::data::DataError;
use crate::parameter::ParameterError;

/// Why a detector could not be made, calibrated or judged; it names what was expected and what was found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DetectorError {
    /// A parameter is out of its documented range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// Images could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An attack refused to start, or was stopped.
    #[error(transparent)]
    Attack(#[from] AttackError),
    /// Too few slides for the false-alarm rate.
    #[error(
        "calibration at a false-alarm rate of {rate}: expected at least {needed} slides of clean images, \
         found {slides} ({images} images); take more slides or a rate of at least {}",
        1.0 / (*slides as f64 + 1.0)
    )]
    TooFewSlides {
        /// The rate asked for.
        rate: f64,
        /// The least number of slides that can promise it.
        needed: usize,
        /// Slides given.
        slides: usize,
        /// Images given.
        images: usize,
    },
    /// A score that is NaN or infinite where thresholds are set.
    #[error("{detector} of {image}: expected a finite score, found {found}")]
    Score {
        /// The detector's name.
        detector: String,
        /// The image's name.
        image: String,
        /// The score.
        found: f64,
    },
    /// Images or features that a detector cannot be fitted to.
    #[error("{detector}: expected {expected}, found {found}")]
    Fit {
        /// The detector's name.
        detector: &'static str,
        /// What would fit.
        expected: String,
        /// What was given.
        found: String,
    },
    /// An attack that returned what it must not.
    #[error("{attack}: expected {expected}, found {found}")]
    Broken {
        /// The attack's name.
        attack: String,
        /// What an attack may return.
        expected: String,
        /// What it returned.
        found: String,
    },
}
