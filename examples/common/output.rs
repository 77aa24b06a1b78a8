//! What examples say: results on standard output, everything else on standard error.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use crate::common::failure::Failure;

/// Exit code of a program whose reader went away, as shells count SIGPIPE.
const CLOSED: u8 = 141;

/// Writes a line to standard output. A reader that went away (`| head -3`) ends the example without a word;
/// any other failure, such as a full disk, with one.
pub fn say(line: impl Display) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("{line}\n").as_bytes()).and_then(|()| output.flush()).map_err(failure)
}

/// Writes a line to standard error, where nobody has to read it.
pub fn note(line: impl Display) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Why standard output took no more.
pub fn failure(error: std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure { code: CLOSED, message: String::new() },
        _ => Failure {
            code: 1,
            message: format!("standard output: expected room for the results, found: {error}"),
        },
    }
}
