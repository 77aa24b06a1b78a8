//! How an example fails: one clear line, and exit code 2 for a wrong option or path; 3 is for a requirement
//! that is not met.

use std::fmt::Display;

/// Why an example ended early, in one line, and its exit code; an empty line is not said.
pub struct Failure {
    pub code: u8,
    pub message: String,
}

impl Failure {
    /// Something the caller can mend: a wrong option, path or file.
    pub fn wrong(message: impl Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::wrong(error)
    }
}
