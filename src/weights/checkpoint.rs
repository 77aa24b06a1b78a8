//! The tensors of a file, whichever format it has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use super::bytes::FileBytes;
use super::stored::Stored;
use super::{WeightsError, burnpack, pytorch, safetensors, sharded};
use crate::file::IoError;

const EXPECTED: &str = "a safetensors file, a PyTorch checkpoint or a burnpack";

/// What a file holds.
pub(super) struct Checkpoint {
    /// Every tensor by its name in the file.
    pub(super) tensors: BTreeMap<String, Stored>,
    /// Whether linear layers have burn's `[inputs, outputs]` and not PyTorch's `[outputs, inputs]`.
    pub(super) linear_transposed: bool,
    /// What the file names to be run, and was not.
    pub(super) not_run: Vec<String>,
}

/// How much of a file tells what it is.
const START: u64 = 32;

/// Looks inside the file and reads its description of the tensors, not yet their data. `name` makes names of burn's
/// paths.
pub(super) fn read(path: &Path, name: fn(&str) -> String) -> Result<Checkpoint, WeightsError> {
    if let Some(index) = sharded::index(path) {
        let tensors = sharded::read(&index)?;
        return Ok(Checkpoint { tensors, linear_transposed: false, not_run: Vec::new() });
    }
    let io = IoError::at(path, EXPECTED);
    let mut file = File::open(path).map_err(io)?;
    let mut start = Vec::new();
    file.by_ref().take(START).read_to_end(&mut start).and_then(|_| file.rewind()).map_err(io)?;
    let linear_transposed = burnpack::is_burnpack(&start);
    let plain = |tensors| (tensors, Vec::new());
    let found = if linear_transposed {
        burnpack::read(path, name).map(plain)
    } else if safetensors::is_safetensors(&start) {
        safetensors::read(FileBytes::new(file).map_err(io)?).map(plain)
    } else {
        pytorch::read(file, &start)
    };
    let damaged = |found| WeightsError::Format { path: path.into(), expected: EXPECTED, found };
    match found.map_err(damaged)? {
        (none, not_run) if none.is_empty() => Err(damaged(match not_run.as_slice() {
            [] => "a file without tensors".into(),
            not_run => format!("a file without tensors that calls {}", not_run.join(", ")),
        })),
        (tensors, not_run) => Ok(Checkpoint { tensors, linear_transposed, not_run }),
    }
}
