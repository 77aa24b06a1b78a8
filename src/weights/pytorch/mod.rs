//! Checkpoints of `torch.save`, as data: nothing in a file is ever executed.
//!
//! A pickle is a program for a small machine. This one knows the instructions that data needs and makes
//! plain values of them; it calls nothing, imports nothing, and refuses by its name whatever else a file
//! asks for. Every step, byte and name is counted, so that no file keeps it busy for long.

mod call;
mod heap;
mod input;
mod legacy;
mod machine;
mod state;
mod view;
mod zip;

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use super::stored::Stored;
use heap::{Heap, Id};
use view::Storages;

/// The most tensors of a file; a DenseNet-201 with its optimizer has under 5,000.
const MAX_TENSORS: usize = 1 << 16;

/// The tensors of the network that a file of PyTorch's holds, whichever container it is.
pub(super) fn read(file: File, start: &[u8]) -> Result<BTreeMap<String, Stored>, String> {
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
