//! Tensors of burn's own format.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::store::burn_pack::Reader;
use burn::tensor::Bytes;

use super::checkpoint::Source;
use super::stored::Stored;

/// How a file of burn's begins.
const MAGIC: &[u8] = b"NRUB";

pub(super) fn is_burnpack(start: &[u8]) -> bool {
    start.starts_with(MAGIC)
}

/// Every tensor under the name that `name` makes of its path, its shape as burn has it.
pub(super) fn read(source: &Source, name: fn(&str) -> String) -> Result<BTreeMap<String, Stored>, String> {
    let reader = match source {
        Source::Path(path) => {
            expect_description(path)?;
            Reader::from_file_exact(path)
        }
        Source::Memory { bytes, .. } => Reader::from_bytes(Bytes::from_bytes_vec(bytes.to_vec())),
    };
    let reader = reader.map_err(|error| error.to_string())?;
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

/// Refuses a file that is shorter than it says its description is: burn's reader makes room for that before
/// it looks.
fn expect_description(path: &Path) -> Result<(), String> {
    // Magic number, version and length, little-endian (burn-pack's `Header`).
    let mut header = [0; 10];
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    file.read_exact(&mut header).map_err(|_| "a burnpack that ends too early".to_string())?;
    let [.., a, b, c, d] = header;
    let (length, whole) =
        (u32::from_le_bytes([a, b, c, d]), file.metadata().map_err(|error| error.to_string())?.len());
    match u64::from(length) > whole.saturating_sub(header.len() as u64) {
        true => Err(format!("a description of {length} bytes in a burnpack of {whole}")),
        false => Ok(()),
    }
}
