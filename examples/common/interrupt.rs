//! Ctrl-C in examples that train: the step ends, checkpoints stay whole.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::train::Interrupter;

use crate::common::failure::Failure;
use crate::common::output::note;

/// Exit code after Ctrl-C, as shells count it.
const CODE: u8 = 130;

/// A handle for training and a flag for evaluation; Ctrl-C and termination set both.
pub fn on_interrupt() -> Result<(Interrupter, &'static AtomicBool), Failure> {
    static STOP: AtomicBool = AtomicBool::new(false);
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    ctrlc::set_handler(move || {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(CODE));
        }
        note("stopping after this step; press Ctrl-C again to end at once");
        handle.stop(Some("interrupted"));
    })?;
    Ok((interrupter, &STOP))
}

/// What to say after Ctrl-C.
pub fn interrupted(message: impl Display) -> Failure {
    Failure { code: CODE, message: message.to_string() }
}
