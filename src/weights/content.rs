//! The tensors of a file, whichever format it has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek};

use super::bytes::{FileBytes, Opened};
use super::checkpoint::Source;
use super::stored::Stored;
use super::{WeightsError, burnpack, kind, pytorch, safetensors, sharded};
use crate::file::IoError;

const EXPECTED: &str = "a safetensors file, a PyTorch checkpoint or a burnpack";

/// What a file holds.
#[derive(Default)]
pub(super) struct Content {
    /// Every tensor by its name in the file.
    pub(super) tensors: BTreeMap<String, Stored>,
    /// Whether linear layers have burn's `[inputs, outputs]` and not PyTorch's `[outputs, inputs]`.
    pub(super) linear_transposed: bool,
    /// The keys of the saved dictionary that are no tensors.
    pub(super) entries: Vec<String>,
    /// What the file would have called for what is not a tensor.
    pub(super) opaque: Vec<String>,
}

/// Looks inside the file and reads its description of the tensors, not yet their data. `name` makes names
/// of burn's paths.
pub(super) fn read(source: &Source, name: fn(&str) -> String) -> Result<Content, WeightsError> {
    let damaged = |found| WeightsError::Format { path: source.path().into(), expected: EXPECTED, found };
    let content = match source {
        Source::Path(path) if path.is_dir() => sharded::read_folder(path).map(of_tensors),
        source => read_file(source, name)?,
    };
    match content.map_err(damaged)? {
        none if none.tensors.is_empty() && none.opaque.is_empty() => {
            Err(damaged("a file without tensors".into()))
        }
        none if none.tensors.is_empty() => {
            Err(damaged(format!("a file without tensors, which would call {}", none.opaque.join(", "))))
        }
        content => Ok(content),
    }
}

fn read_file(source: &Source, name: fn(&str) -> String) -> Result<Result<Content, String>, WeightsError> {
    let io = IoError::at(source.path(), EXPECTED);
    let mut file = match source {
        Source::Path(path) => Opened::File(File::open(path).map_err(io)?),
        Source::Memory { bytes, .. } => Opened::Memory(Cursor::new(bytes.clone())),
    };
    let mut start = Vec::new();
    file.by_ref().take(kind::HEAD).read_to_end(&mut start).and_then(|_| file.rewind()).map_err(io)?;
    Ok(if burnpack::is_burnpack(&start) {
        burnpack::read(source, name).map(|tensors| Content { linear_transposed: true, ..of_tensors(tensors) })
    } else if safetensors::is_safetensors(&start) {
        safetensors::read(FileBytes::new(file).map_err(io)?).map(of_tensors)
    } else if sharded::is_index(source.path(), &start) {
        match source {
            Source::Path(path) => sharded::read(path).map(of_tensors),
            Source::Memory { .. } => Err("an index of other files; give one file with all tensors".into()),
        }
    } else if let Some(kind) = kind::foreign(&start) {
        Err(kind.into())
    } else {
        let saved = pytorch::read(file, &start);
        saved.map(|pytorch::Saved { tensors, entries, opaque }| Content {
            tensors,
            linear_transposed: false,
            entries,
            opaque,
        })
    })
}

fn of_tensors(tensors: BTreeMap<String, Stored>) -> Content {
    Content { tensors, ..Content::default() }
}
