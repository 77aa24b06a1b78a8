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
//! | training checkpoints | `state_dict`, `model_state_dict`, `model` or `net` entry; `module.`, `model.`, `backbone.` before the names; whatever else is in the file is ignored |
//! | burn | burnpack (`.bpk`), as burn and this crate's training write it |
//!
//! Another network loads from its files with an implementation of [`Checkpointed`].
//!
//! Nothing in a pickle is executed. A file that calls more than what tensors and plain data need is refused by
//! the name of what it calls; damaged and hostile files end in an error, soon and in little memory. Data is read
//! only when every name and shape fits.

mod burnpack;
mod bytes;
mod checkpoint;
mod checkpointed;
mod densenet;
mod error;
#[cfg(feature = "download")]
mod fetch;
mod load;
mod names;
mod normalized;
#[cfg(feature = "onnx")]
mod onnx;
mod pytorch;
mod safetensors;
mod save;
mod stored;
mod target;

pub use checkpointed::Checkpointed;
pub use error::{Tensors, WeightsError};
#[cfg(feature = "download")]
pub use fetch::{Pretrained, fetch};
pub use load::{Head, Load, load, load_features};
#[cfg(feature = "onnx")]
pub use onnx::{OnnxImages, save_onnx};
pub use save::save_safetensors;
