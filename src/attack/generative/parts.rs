//! Several networks and their moments in one file, each under a prefix of its own.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::stored_checks::check_sum;
use crate::attack::stored::{Numbers, Stored, StoredError, sha256_of_parts};

/// Writes a file of this kind; it is complete or absent at any moment.
pub(super) fn write(
    path: &Path,
    kind: &str,
    about: &impl Serialize,
    parts: &[(&'static str, &Numbers)],
) -> Result<(), StoredError> {
    let mut stored = Stored::new(kind, about);
    for (prefix, numbers) in parts {
        stored.add_all(prefix, numbers);
    }
    stored.write(path)
}

/// Reads one, whose tensors have the digest that it says.
pub(super) fn read<A: DeserializeOwned, const N: usize>(
    path: &Path,
    kind: &str,
    prefixes: [&'static str; N],
    sum: impl Fn(&A) -> &str,
) -> Result<(A, [Numbers; N]), StoredError> {
    let stored = Stored::read(path, kind)?;
    let about: A = stored.about(path)?;
    let parts = prefixes.map(|prefix| stored.all(prefix));
    let named: [_; N] = std::array::from_fn(|part| (prefixes[part], &parts[part]));
    check_sum(path, "tensors", sum(&about), &sha256_of_parts(&named))?;
    Ok((about, parts))
}
