//! A checkpoint that says what was left out of it.

use std::path::Path;

use histoguard::weights::Checkpoint;

use crate::common::output::note;

/// The file at this path, whose notes go to standard error.
pub fn noted(path: &Path) -> Checkpoint<'_> {
    Checkpoint::at(path).on_note(|said| note(format_args!("note: {}: {said}", path.display())))
}
