//! What can go wrong with a checkpoint.

use std::path::PathBuf;

use thiserror::Error;

use crate::file::IoError;

/// What went wrong with a checkpoint; it names the file, what was expected and what was found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file could not be read or written.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The file's content is not a checkpoint, or a damaged one.
    #[error("{path}: expected {expected}, found {found}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it should have been.
        expected: &'static str,
        /// What it was.
        found: String,
    },
    /// The file is a checkpoint of another network.
    #[error(
        "{path}: expected the tensors of this network, found those of another; missing: {missing}; \
         unexpected: {unexpected}; of another shape or type: {mismatched}",
        path = path.display()
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Tensors that the network has and the file lacks.
        missing: Tensors,
        /// Tensors that the file has and the network lacks.
        unexpected: Tensors,
        /// Tensors that do not fit, each with what was expected and what was found.
        mismatched: Tensors,
    },
    /// The network has no form in ONNX.
    #[cfg(feature = "onnx")]
    #[error("{path}: expected a network that ONNX can express, found: {found}", path = path.display())]
    Export {
        /// The file.
        path: PathBuf,
        /// What burn-onnx said.
        found: String,
    },
}

/// A list of tensors, shown as their number and the first few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tensors(pub Vec<String>);

impl std::fmt::Display for Tensors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 3;
        write!(f, "{}", self.0.len())?;
        if self.0.is_empty() {
            return Ok(());
        }
        let more = if self.0.len() > SHOWN { ", ..." } else { "" };
        write!(f, " ({}{more})", self.0[..self.0.len().min(SHOWN)].join(", "))
    }
}
