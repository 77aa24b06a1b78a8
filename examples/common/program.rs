//! How an example begins and ends.

use std::process::ExitCode;

use clap::Parser;

use crate::common::failure::Failure;
use crate::common::output;

/// Runs the example with its options and turns its failure into one line and an exit code.
pub fn run<O: Parser>(example: impl FnOnce(O) -> Result<(), Failure>) -> ExitCode {
    let failure = match O::try_parse() {
        Ok(options) => example(options).err(),
        Err(error) if error.use_stderr() => error.exit(),
        // The help that was asked for.
        Err(error) => error.print().err().map(output::failure),
    };
    match failure {
        None => ExitCode::SUCCESS,
        Some(Failure { code, message }) => {
            if !message.is_empty() {
                output::note(format_args!("error: {message}"));
            }
            ExitCode::from(code)
        }
    }
}
