//! Reading and writing checkpoints.
//!
//! [`save_safetensors`] writes torchvision's names, so that `load_state_dict(load_file(path))` works in
//! Python. [`load()`], [`load_features`] and [`Load`] read what people have, by looking inside the file:
//!
//! # Files
//!
//! | source | form |
//! | --- | --- |
//! | torchvision, 121, 161, 169, 201 | state dict, before and since PyTorch 1.6, old names (`norm.1`) and new, with or without `num_batches_tracked` |
//! | timm, torchvision | safetensors |
//! | TorchXRayVision | whole pickled module, before and since PyTorch 1.6; thresholds and sigmoid are set aside |
//! | CheXNet | `state_dict` entry, `module.densenet121.`, `classifier.0.`, old names |
//! | training checkpoints | the network in any entry, with anything before its names; Lightning, `DataParallel`, `torch.compile` |
//! | sharded safetensors | `model.safetensors.index.json`, or the folder that it is in |
//! | burn | burnpack (`.bpk`), as burn and this crate's training write it |
//!
//! Zip archives may be deflated, pickles of protocol 1 to 5 (with protocol 0, `torch.save` writes files that
//! `torch.load` refuses). A layer of the network may be alone in a `Sequential`, as `classifier.1.weight`
//! after a dropout. Another network loads from its files with an implementation of [`Checkpointed`].
//!
//! The tensors under one prefix have to be the network's, all of them and no others. What is elsewhere in
//! the file is left out and named in a [`Note`]. A file with two such networks is refused, and
//! [`Checkpoint::prefix`] chooses. [`densenet_config`] says which DenseNet a file is of, and
//! [`Checkpoint::in_memory`] takes bytes where there are no files.
//!
//! Nothing in a pickle is executed. What a file makes by calls other than those of tensors stays unmade,
//! and a note names what would have been called; damaged and hostile files end in an error, soon and in
//! little memory. Data is read only when every name and shape fits.

mod architecture;
mod burnpack;
mod bytes;
mod checkpoint;
mod checkpointed;
mod content;
mod densenet;
mod error;
#[cfg(feature = "download")]
mod fetch;
mod kind;
mod load;
mod names;
mod network;
mod normalized;
mod note;
#[cfg(feature = "onnx")]
mod onnx;
mod pytorch;
mod safetensors;
mod save;
mod sharded;
mod stored;
mod target;

pub use architecture::densenet_config;
pub use checkpoint::Checkpoint;
pub use checkpointed::Checkpointed;
pub use error::{Prefixes, Tensors, WeightsError};
#[cfg(feature = "download")]
pub use fetch::{Pretrained, fetch};
pub use load::{Head, Load, load, load_features};
pub use note::Note;
#[cfg(feature = "onnx")]
pub use onnx::{OnnxImages, save_onnx};
pub use save::{fingerprint, save_safetensors};
