//! What can go wrong with images, folders and splits.

use std::path::PathBuf;

use thiserror::Error;

/// What went wrong with an image, a folder or a split; it names the path, what was expected and what was
/// found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder could not be read.
    #[error("{path}: expected {expected}, found: {source}", path = path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What it should have been.
        expected: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Labels that do not fit their images or classes.
    #[error("labels: expected {expected}, found {found}")]
    Labels {
        /// What would fit.
        expected: String,
        /// What was given.
        found: String,
    },
}
