//! The two containers of `torch.save`, told apart by their first bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use super::super::stored::Stored;
use super::heap::{Heap, Id};
use super::storage::Storages;
use super::{legacy, machine, state, zip};

/// The tensors of the network that a file of PyTorch's holds, whichever container it is.
pub(in crate::weights) fn read(file: File, start: &[u8]) -> Result<BTreeMap<String, Stored>, String> {
    let (heap, root, storages): (Heap, Id, Arc<dyn Storages>) = match start {
        [b'P', b'K', 3, 4, ..] => zip::read(file)?,
        [machine::PROTO, ..] => legacy::read(file)?,
        [b'P', b'K', ..] => return Err("an empty or split zip archive".into()),
        [] => return Err("an empty file".into()),
        _ => return Err("a file of another kind".into()),
    };
    let tensors = state::tensors(&heap, root)?;
    Ok(tensors.into_iter().map(|(name, view)| (name, view.stored(storages.clone()))).collect())
}
