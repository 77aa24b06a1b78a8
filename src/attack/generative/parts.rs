//! Several networks and their moments in one file, each under a prefix of its own.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::attack::stored::{Numbers, Stored, StoredError, sha256};

/// A digest of all of them.
pub(super) fn digest(parts: &[(&'static str, &Numbers)]) -> String {
    let named = |&(prefix, numbers): &(&str, &Numbers)| -> Numbers {
        numbers.iter().map(|(name, value)| (format!("{prefix}{name}"), value.clone())).collect()
    };
    sha256(&parts.iter().flat_map(named).collect())
}

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
    let (found, said) = (digest(&named), sum(&about));
    if found != said {
        return Err(StoredError::format(path, &format!("tensors whose SHA-256 is {said}"), found));
    }
    Ok((about, parts))
}
