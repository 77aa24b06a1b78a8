//! Every image is read once before the work begins.

use histoguard::data::{DataError, ImageSet, OnError};

use crate::common::output::note;

/// What happens with a file that cannot be used.
pub fn policy(skip: bool) -> OnError {
    if skip { OnError::Skip } else { OnError::Fail }
}

/// The images that can be read; a damaged one is an error, or with `skip` left out, named and counted.
pub fn readable(images: ImageSet, skip: bool) -> Result<ImageSet, DataError> {
    let (images, skipped) = images.verify(policy(skip))?;
    for damaged in &skipped {
        note(format_args!("left out: {}", damaged.reason));
    }
    if skipped.is_empty() {
        return Ok(images);
    }
    note(format_args!("{} damaged images left out", skipped.len()));
    Ok(images.with_note(format!("{} damaged images left out", skipped.len())))
}
