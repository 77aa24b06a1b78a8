//! The two containers of `torch.save`, told apart by their first bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use super::super::stored::Stored;
use super::heap::{Heap, Id};
use super::storage::Storages;
use super::{legacy, machine, state, zip};

/// The tensors that a file of PyTorch's holds, whichever container it is, and the names of what it would have run.
pub(in crate::weights) fn read(
    file: File,
    start: &[u8],
) -> Result<(BTreeMap<String, Stored>, Vec<String>), String> {
    let (heap, root, storages): (Heap, Id, Arc<dyn Storages>) = match start {
        [b'P', b'K', 3, 4, ..] => zip::read(file)?,
        // Protocols 0 and 1 begin with the magic number itself, in decimal.
        [machine::PROTO, ..] | [b'L', b'0'..=b'9', ..] => legacy::read(file)?,
        [b'P', b'K', ..] => return Err("an empty or split zip archive".into()),
        start => return Err(kind(start).into()),
    };
    let tensors = state::tensors(&heap, root)?;
    let stored = tensors.into_iter().map(|(name, view)| (name, view.stored(storages.clone())));
    Ok((stored.collect(), heap.names_not_run()))
}

/// What a file is that is no checkpoint, by how it begins.
fn kind(start: &[u8]) -> &'static str {
    let text = start.trim_ascii_start().to_ascii_lowercase();
    match start {
        [] => "an empty file",
        [0x1f, 0x8b, ..] => "a gzip archive: unpack it first",
        [0x89, b'H', b'D', b'F', ..] => "an HDF5 file, as Keras writes it",
        [b'8', b'B', b'P', b'S', ..] | [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] => "an image",
        _ if text.starts_with(b"version https://git-lfs") => {
            "a pointer of Git LFS in place of the file: fetch it with `git lfs pull`"
        }
        _ if text.starts_with(b"<!doctype") || text.starts_with(b"<html") => {
            "a web page: the download gave a page in place of the file"
        }
        _ if text.starts_with(b"{") => "JSON",
        _ => "a file of another kind",
    }
}
