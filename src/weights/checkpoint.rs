//! The tensors of a file, whichever format it has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::{ModuleStore, PytorchStore, SafetensorsStore};

use super::WeightsError;

const EXPECTED: &str = "a safetensors file or a PyTorch checkpoint";

/// Every tensor of a checkpoint by its name in the file; the data is read when it is asked for.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, StoredTensor>, WeightsError> {
    let damaged = |found: String| WeightsError::Format { path: path.into(), expected: EXPECTED, found };
    let tensors = match is_safetensors(path)? {
        true => {
            let mut store = SafetensorsStore::from_file(path);
            store.get_all_tensors().map_err(|error| damaged(error.to_string()))?.clone()
        }
        false => {
            let mut store = PytorchStore::from_file(path).map_indices_contiguous(false);
            store.get_all_tensors().map_err(|error| damaged(error.to_string()))?.clone()
        }
    };
    match tensors.is_empty() {
        true => Err(damaged("a file without tensors".into())),
        false => Ok(tensors),
    }
}

/// A safetensors file opens with the length of its header, a little-endian u64, and the header's `{`.
fn is_safetensors(path: &Path) -> Result<bool, WeightsError> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(9).read_to_end(&mut start))
        .map_err(|source| WeightsError::Io { path: path.into(), expected: EXPECTED, source })?;
    Ok(start.get(8) == Some(&b'{') && start[5..8] == [0; 3])
}
