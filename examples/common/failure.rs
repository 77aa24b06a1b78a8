//! How an example fails: one clear line, and exit code 2 for a wrong option or path; 3 is for a requirement that is not
//! met.

use std::fmt::Display;
use std::process::ExitCode;

/// Why an example ended early, in one line, and its exit code.
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

/// Runs the example and turns its failure into one line and an exit code.
pub fn run(example: impl FnOnce() -> Result<(), Failure>) -> ExitCode {
    match example() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            eprintln!("error: {message}");
            ExitCode::from(code)
        }
    }
}
