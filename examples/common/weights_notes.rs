//! What a checkpoint holds beside the network.

use std::path::Path;

use histoguard::weights::Notes;

use crate::common::output::note;

/// Says what was left out of a checkpoint, if anything.
pub fn tell(checkpoint: &Path, notes: &Notes) {
    let notes = notes.to_string();
    if !notes.is_empty() {
        note(format_args!("note: {}: {notes}", checkpoint.display()));
    }
}
