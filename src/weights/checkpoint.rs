//! The tensors of a file, whichever format it has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use super::bytes::FileBytes;
use super::stored::Stored;
use super::{WeightsError, burnpack, pytorch, safetensors};
use crate::file::IoError;

const EXPECTED: &str = "a safetensors file, a PyTorch checkpoint or a burnpack";

/// What a file holds.
pub(super) struct Checkpoint {
    /// Every tensor by its name in the file.
    pub(super) tensors: BTreeMap<String, Stored>,
    /// Whether linear layers have burn's `[inputs, outputs]` and not PyTorch's `[outputs, inputs]`.
    pub(super) linear_transposed: bool,
}

/// Looks inside the file and reads its description of the tensors, not yet their data. `name` makes names of burn's
/// paths.
pub(super) fn read(path: &Path, name: fn(&str) -> String) -> Result<Checkpoint, WeightsError> {
    let io = IoError::at(path, EXPECTED);
    let mut file = File::open(path).map_err(io)?;
    let mut start = Vec::new();
    file.by_ref().take(9).read_to_end(&mut start).and_then(|_| file.rewind()).map_err(io)?;
    let linear_transposed = burnpack::is_burnpack(&start);
    let tensors = if linear_transposed {
        burnpack::read(path, name)
    } else if safetensors::is_safetensors(&start) {
        safetensors::read(FileBytes::new(file).map_err(io)?)
    } else {
        pytorch::read(file, &start)
    };
    let damaged = |found| WeightsError::Format { path: path.into(), expected: EXPECTED, found };
    match tensors.map_err(damaged)? {
        none if none.is_empty() => Err(damaged("a file without tensors".into())),
        tensors => Ok(Checkpoint { tensors, linear_transposed }),
    }
}
