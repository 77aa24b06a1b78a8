//! What the examples share: one clear line and exit code 2 for a wrong option or path, and Ctrl-C.

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::train::Interrupter;

/// Exit code of a wrong option, path or file.
const WRONG: u8 = 2;
/// Exit code after Ctrl-C, as shells count it.
const INTERRUPTED: u8 = 130;

/// Set by Ctrl-C, for work that is not training.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// Why an example ended early.
pub enum Failure {
    /// Something the caller can mend, in one line.
    Wrong(String),
    /// Ctrl-C; what to do to go on.
    Interrupted(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Wrong(error.to_string())
    }
}

impl Failure {
    pub fn wrong(message: impl Display) -> Self {
        Self::Wrong(message.to_string())
    }
}

/// Runs the example and turns its failure into one line and an exit code.
pub fn run(example: impl FnOnce() -> Result<(), Failure>) -> ExitCode {
    let (code, message) = match example() {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Wrong(message)) => (WRONG, message),
        Err(Failure::Interrupted(message)) => (INTERRUPTED, message),
    };
    eprintln!("error: {message}");
    ExitCode::from(code)
}

/// A handle that Ctrl-C (and termination) sets.
pub fn on_interrupt() -> Result<Interrupter, Failure> {
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    ctrlc::set_handler(move || {
        eprintln!("stopping after this step; press Ctrl-C again to end at once");
        if handle.should_stop() {
            std::process::exit(i32::from(INTERRUPTED));
        }
        handle.stop(Some("interrupted"));
        STOP.store(true, Ordering::Relaxed);
    })?;
    Ok(interrupter)
}
