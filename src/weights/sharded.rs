//! Tensors of several safetensors files with an index, as Hugging Face's libraries write large networks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::bytes::FileBytes;
use super::stored::Stored;
use super::{WeightsError, safetensors};
use crate::file::IoError;

/// The index's usual name.
const INDEX: &str = "model.safetensors.index.json";
/// The longest index that is read.
const MAX_INDEX: u64 = 16 << 20;
/// The most files.
const MAX_SHARDS: usize = 1 << 10;

#[derive(Deserialize)]
struct Index {
    /// The file of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// The index that is meant by this path: itself, or the one in a folder.
pub(super) fn index(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.join(INDEX));
    }
    path.file_name()?.to_str()?.ends_with(".safetensors.index.json").then(|| path.to_path_buf())
}

/// Every tensor of the index, each from its file.
pub(super) fn read(index: &Path) -> Result<BTreeMap<String, Stored>, WeightsError> {
    const EXPECTED: &str = "an index of safetensors files";
    let wrong = |found: String| WeightsError::Format { path: index.into(), expected: EXPECTED, found };
    let io = IoError::at(index, EXPECTED);
    let mut text = String::new();
    File::open(index).and_then(|file| file.take(MAX_INDEX + 1).read_to_string(&mut text)).map_err(io)?;
    if text.len() as u64 > MAX_INDEX {
        return Err(wrong(format!("more than {MAX_INDEX} bytes")));
    }
    let Index { weight_map } = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let shards: BTreeSet<&str> = weight_map.values().map(String::as_str).collect();
    if shards.len() > MAX_SHARDS {
        return Err(wrong(format!("more than {MAX_SHARDS} files")));
    }
    if let Some(outside) = shards.iter().find(|name| !is_beside(name)) {
        return Err(wrong(format!("the file {outside:?}, outside of its folder")));
    }
    let folder = index.parent().unwrap_or(Path::new(""));
    let mut tensors: BTreeMap<String, Stored> = BTreeMap::new();
    for shard in shards {
        let path = folder.join(shard);
        const PART: &str = "a safetensors file of the index";
        let io = IoError::at(&path, PART);
        let damaged = |found| WeightsError::Format { path: path.clone(), expected: PART, found };
        let file = File::open(&path).and_then(FileBytes::new).map_err(io)?;
        for (name, tensor) in safetensors::read(file).map_err(damaged)? {
            match weight_map.get(&name).map(String::as_str) {
                Some(of) if of == shard => tensors.insert(name, tensor),
                of => {
                    let of = of.map_or("nowhere".into(), |of| format!("in {of}"));
                    return Err(damaged(format!("the tensor {name}, which the index has {of}")));
                }
            };
        }
    }
    match weight_map.iter().find(|(name, _)| !tensors.contains_key(*name)) {
        Some((name, shard)) => Err(WeightsError::Format {
            path: folder.join(shard),
            expected: "the tensors that its index names",
            found: format!("no {name}"),
        }),
        None => Ok(tensors),
    }
}

/// Whether this is the name of a file in the same folder.
fn is_beside(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
        && !name.contains(['\\', ':', '\0'])
}
