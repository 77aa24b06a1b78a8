//! The two containers of `torch.save`, told apart by their first bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::bytes::Opened;
use super::super::stored::Stored;
use super::heap::{Heap, Id};
use super::state::{self, Found};
use super::storage::Storages;
use super::{legacy, machine, zip};

/// What a file of PyTorch's holds.
pub(in crate::weights) struct Saved {
    pub(in crate::weights) tensors: BTreeMap<String, Stored>,
    /// The keys of the saved dictionary that are no tensors.
    pub(in crate::weights) entries: Vec<String>,
    /// What it would have called for what is not a tensor.
    pub(in crate::weights) opaque: Vec<String>,
}

/// Every tensor that a file of PyTorch's holds, whichever container it is.
pub(in crate::weights) fn read(file: Opened, start: &[u8]) -> Result<Saved, String> {
    let (heap, root, storages): (Heap, Id, Arc<dyn Storages>) = match start {
        [b'P', b'K', 3, 4, ..] => zip::read(file)?,
        [machine::PROTO, ..] => legacy::read(file)?,
        _ if start.starts_with(legacy::OLD_START) => legacy::read(file)?,
        [b'P', b'K', ..] => return Err("an empty or split zip archive".into()),
        [b'{' | b'[', ..] => return Err("a JSON text, which is no checkpoint".into()),
        _ => return Err("a file of another kind".into()),
    };
    let found = state::tensors(&heap, root)?;
    let stored = |(name, Found { view, entry }): (String, Found)| {
        let place = view.place();
        (name, view.stored(storages.clone()).placed(entry, place))
    };
    let entries = state::entries(&heap, root);
    let opaque = heap.opaque();
    Ok(Saved { tensors: found.into_iter().map(stored).collect(), entries, opaque })
}
