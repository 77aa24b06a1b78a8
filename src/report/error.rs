//! Why a report could not be written or read.

use std::path::PathBuf;

use thiserror::Error;

/// Why a report could not be written, read or drawn.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file or folder could not be read or written.
    #[error("{path}: expected {expected}, found: {source}", path = path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What should have been possible.
        expected: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file is not a report of this version.
    #[error("{path}: expected a report.json of this version, found: {source}", path = path.display())]
    Json {
        /// The path.
        path: PathBuf,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// A figure cannot be made from this input.
    #[error("figure, {input}: expected {expected}, found {found}")]
    Figure {
        /// The input.
        input: &'static str,
        /// What would fit.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// The drawing library failed.
    #[error("drawing a figure: {0}")]
    Drawing(String),
}

impl ReportError {
    pub(super) fn unwritable(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), expected: "a writable file", source }
    }

    #[cfg(feature = "figures")]
    pub(super) fn refused(input: &'static str, expected: &'static str, found: impl Into<String>) -> Self {
        Self::Figure { input, expected, found: found.into() }
    }
}
