//! What to do with a file that cannot be used.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DataError;

/// What happens when a file cannot be used: stop, or go on without it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnError {
    /// Return the first error.
    #[default]
    Fail,
    /// Leave the file out, count it and name it.
    Skip,
}

/// A file that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The file or folder.
    pub path: PathBuf,
    /// The error that it would have been.
    pub reason: String,
}

impl OnError {
    /// Hands the error back, or notes it under `skipped`.
    pub(crate) fn handle(
        self,
        path: &Path,
        error: DataError,
        skipped: &mut Vec<Skipped>,
    ) -> Result<(), DataError> {
        match self {
            Self::Fail => Err(error),
            Self::Skip => {
                skipped.push(Skipped { path: path.to_path_buf(), reason: error.to_string() });
                Ok(())
            }
        }
    }
}
