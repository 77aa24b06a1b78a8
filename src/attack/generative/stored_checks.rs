//! What is asked of every file of a generative attack.

use std::path::Path;

use super::numbers::plausible;
use crate::attack::stored::{Numbers, StoredError};
use crate::parameter::{self, Parameter};

/// Whether the settings are those of a network that can have these weights, before any is made.
pub(super) fn check_settings(
    path: &Path,
    weights: &Numbers,
    (sizes, shape): (&[usize], [usize; 3]),
    settings: Vec<Parameter>,
) -> Result<(), StoredError> {
    parameter::check(std::iter::once(plausible(weights, sizes, shape)).chain(settings))
        .map_err(|error| StoredError::format(path, "a generator with settings in their ranges", error))
}

/// Whether these are still the tensors that were written.
pub(super) fn check_sum(path: &Path, what: &str, expected: &str, found: &str) -> Result<(), StoredError> {
    match expected == found {
        true => Ok(()),
        false => Err(StoredError::format(path, &format!("{what} whose SHA-256 is {expected}"), found)),
    }
}
