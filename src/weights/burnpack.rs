//! Tensors of burn's own format.

use std::collections::BTreeMap;
use std::path::Path;

use burn::store::burn_pack::Reader;

use super::stored::Stored;

/// How a file of burn's begins.
const MAGIC: &[u8] = b"NRUB";

pub(super) fn is_burnpack(start: &[u8]) -> bool {
    start.starts_with(MAGIC)
}

/// Every tensor under the name that `name` makes of its path, its shape as burn has it.
pub(super) fn read(path: &Path, name: fn(&str) -> String) -> Result<BTreeMap<String, Stored>, String> {
    let reader = Reader::from_file_exact(path).map_err(|error| error.to_string())?;
    let tensors = reader.into_tensors().map_err(|error| error.to_string())?;
    let mut stored = BTreeMap::new();
    for tensor in tensors {
        let (name, dtype, shape) = (name(&tensor.name), tensor.dtype, tensor.shape.to_vec());
        let read = move || tensor.to_bytes().map(|bytes| bytes.to_vec()).map_err(|error| error.to_string());
        if stored.insert(name.clone(), Stored::new(dtype, shape, read)).is_some() {
            return Err(format!("two tensors called {name}"));
        }
    }
    Ok(stored)
}
