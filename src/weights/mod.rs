//! Reading and writing checkpoints.
//!
//! [`save_safetensors`] writes torchvision's names, so that `load_state_dict(load_file(path))` works in Python.
//! [`load()`], [`load_features`] and [`Load`] read what people have, by looking inside the file:
//!
//! # Files
//!
//! | source | form |
//! | --- | --- |
//! | torchvision, 121, 161, 169, 201 | state dict, before and since PyTorch 1.6, old names (`norm.1`) and new, with or without `num_batches_tracked` |
//! | timm, torchvision | safetensors |
//! | TorchXRayVision | whole pickled module, before and since PyTorch 1.6; thresholds and sigmoid are set aside |
//! | CheXNet | `state_dict` entry, `module.densenet121.`, `classifier.0.`, old names |
//! | training checkpoints | the network in any entry and below any name (`state_dict`, `model.`, `module.backbone.`, a place in a `Sequential`), if it is there once; whatever else is in the file is left out and [noted](load_noted) |
//! | sharded safetensors | `model.safetensors.index.json`, or the folder that it is in |
//! | burn | burnpack (`.bpk`), as burn and this crate's training write it |
//!
//! Another network loads from its files with an implementation of [`Checkpointed`].
//!
//! Pickles of protocols 0 to 5, in zip archives stored or deflated. Nothing in a pickle is executed: what a file calls
//! beside what tensors and plain data need stays a name, which is [noted](load_noted). Damaged and hostile files end in
//! an error, soon and in little memory. Data is read only when every name and shape fits.

mod burnpack;
mod bytes;
mod checkpoint;
mod checkpointed;
mod densenet;
mod error;
#[cfg(feature = "download")]
mod fetch;
mod load;
mod located;
mod names;
mod normalized;
mod notes;
#[cfg(feature = "onnx")]
mod onnx;
mod pytorch;
mod safetensors;
mod save;
mod sharded;
mod stored;
mod target;

pub use checkpointed::Checkpointed;
pub use error::{Tensors, WeightsError};
#[cfg(feature = "download")]
pub use fetch::{Pretrained, fetch};
pub use load::{Head, Load, load, load_below, load_features, load_noted};
pub use notes::Notes;
#[cfg(feature = "onnx")]
pub use onnx::{OnnxImages, save_onnx};
pub use save::save_safetensors;
