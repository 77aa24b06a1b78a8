//! A safetensors file in parts, and the index that says which tensor is in which.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Formatter;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::bytes::{FileBytes, Opened};
use super::safetensors;
use super::stored::Stored;

/// How the names of indices end.
const ENDING: &str = ".safetensors.index.json";
/// The longest index that is read.
const MAX_INDEX: u64 = 16 << 20;
/// The most parts of a file.
const MAX_SHARDS: usize = 1 << 10;

#[derive(serde::Deserialize)]
struct Index {
    weight_map: Pairs,
}

/// The entries of a JSON object, a key that is there twice twice.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Pairs;

            fn expecting(&self, f: &mut Formatter) -> std::fmt::Result {
                write!(f, "a file's name for every tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Whether a file is an index, by its name and first bytes.
pub(super) fn is_index(path: &Path, start: &[u8]) -> bool {
    let named = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".index.json"));
    named && start.trim_ascii_start().starts_with(b"{")
}

/// The tensors of the index that lies in a folder.
pub(super) fn read_folder(folder: &Path) -> Result<BTreeMap<String, Stored>, String> {
    let files = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
    let files = files.map(|file| file.map(|file| file.path())).collect::<Result<Vec<PathBuf>, _>>();
    let mut files = files.map_err(|error| error.to_string())?;
    files.sort();
    let ends = |path: &PathBuf| path.to_string_lossy().ends_with(ENDING);
    let indices: Vec<&PathBuf> = files.iter().filter(|path| ends(path)).collect();
    match indices.as_slice() {
        [index] => read(index),
        [] if files.iter().any(|path| path.ends_with(".metadata")) => Err(
            "a distributed checkpoint of PyTorch's; torch.distributed.checkpoint.format_utils.dcp_to_torch_save \
             makes one file of it"
                .into(),
        ),
        [] => Err(format!("a folder without a *{ENDING}; name the file in it")),
        [..] => Err(format!("a folder with {} files *{ENDING}; name one of them", indices.len())),
    }
}

/// The tensors of every part that the index names; each is in exactly the part that the index says.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Stored>, String> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_INDEX + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_INDEX {
        return Err(format!("an index of more than {MAX_INDEX} bytes"));
    }
    let Index { weight_map: Pairs(pairs) } =
        serde_json::from_slice(&text).map_err(|error| format!("an index that is damaged: {error}"))?;
    let mut index = BTreeMap::new();
    for (tensor, shard) in pairs {
        if !is_name(&shard) {
            return Err(format!("an index with the part {shard:?}, which is no file beside it"));
        }
        if let Some(other) = index.insert(tensor.clone(), shard.clone()) {
            return Err(format!("an index with {tensor} twice, in {other} and in {shard}"));
        }
    }
    let shards: BTreeSet<&String> = index.values().collect();
    if shards.len() > MAX_SHARDS {
        return Err(format!("an index with more than {MAX_SHARDS} parts"));
    }
    let mut tensors = BTreeMap::new();
    for shard in shards {
        for (name, tensor) in
            shard_at(&path.with_file_name(shard)).map_err(|found| format!("{shard}: {found}"))?
        {
            match index.get(&name) {
                Some(there) if there == shard => tensors.insert(name, tensor),
                Some(there) => return Err(format!("{name} in {shard}, where the index has it in {there}")),
                None => return Err(format!("{name} in {shard}, where the index does not have it")),
            };
        }
    }
    match index.iter().find(|(name, _)| !tensors.contains_key(*name)) {
        Some((name, shard)) => Err(format!("no {name} in {shard}, where the index has it")),
        None => Ok(tensors),
    }
}

fn shard_at(path: &Path) -> Result<BTreeMap<String, Stored>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err("not a file".into());
    }
    let file = FileBytes::new(Opened::File(file)).map_err(|error| error.to_string())?;
    let start = file.read(0, file.length().min(9))?;
    match safetensors::is_safetensors(&start) {
        true => safetensors::read(file),
        false => Err("not a safetensors file".into()),
    }
}

/// Whether this is the name of a file and not a path to elsewhere.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', ':', '\0'])
}
