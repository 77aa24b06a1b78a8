//! What is said of a file or folder that cannot be read or written.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file or folder that could not be read or written.
#[derive(Debug, Error)]
#[error("{path}: expected {expected}, found: {source}", path = path.display())]
pub struct IoError {
    /// The path.
    pub path: PathBuf,
    /// What it should have been.
    pub expected: &'static str,
    /// The system's answer.
    pub source: std::io::Error,
}

impl IoError {
    /// Turns the system's answer about `path` into an error that says what was expected there.
    ///
    /// ```
    /// use std::path::Path;
    /// use histoguard::file::IoError;
    ///
    /// let path = Path::new("nowhere/at all");
    /// let error = std::fs::read(path).map_err(IoError::at(path, "a list of slides")).unwrap_err();
    /// assert!(error.to_string().starts_with("nowhere/at all: expected a list of slides, found: "));
    /// ```
    pub fn at(path: &Path, expected: &'static str) -> impl Fn(std::io::Error) -> Self + Copy {
        move |source| Self { path: path.into(), expected, source }
    }
}
