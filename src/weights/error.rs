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
    /// The file holds the network several times, with tensors of their own.
    #[error(
        "{path}: expected this network once, found {prefixes}; choose one by its prefix, as in \
         Checkpoint::at(path).prefix({first:?}) (of weights and their average, most take the average)",
        path = path.display(), first = prefixes.0.last().map_or("", |prefix| prefix)
    )]
    Ambiguous {
        /// The file.
        path: PathBuf,
        /// What is before the tensors' names of each.
        prefixes: Prefixes,
    },
    /// The file has none of the network's tensors where they were said to be.
    #[error(
        "{path}: expected tensors of this network under {expected:?}, found {found}",
        path = path.display()
    )]
    NoSuchPrefix {
        /// The file.
        path: PathBuf,
        /// The prefix that was asked for.
        expected: String,
        /// What is before the names of tensors that could be the network's.
        found: Prefixes,
    },
    /// Weights with which every answer would be NaN.
    #[error(
        "{path}: expected finite weights in single precision, found tensors with others: {tensors}",
        path = path.display()
    )]
    Values {
        /// The file.
        path: PathBuf,
        /// The tensors in the network's order, each with how many of its values are not finite.
        tensors: Tensors,
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

/// What a file has before the names of networks, shown as their number and the first few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes(pub Vec<String>);

impl std::fmt::Display for Prefixes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 8;
        let shown = self.0.iter().take(SHOWN).map(|prefix| match prefix.as_str() {
            "" => "without a prefix (\"\")".to_string(),
            prefix => format!("under {prefix:?}"),
        });
        let shown: Vec<String> = shown.collect();
        match shown.is_empty() {
            true => write!(f, "none"),
            false if self.0.len() > SHOWN => write!(f, "{}: {}, ...", self.0.len(), shown.join(", ")),
            false => write!(f, "{}: {}", self.0.len(), shown.join(", ")),
        }
    }
}
