//! Reading and writing checkpoints.
//!
//! [`save_safetensors`] writes torchvision's names, so that `load_state_dict(load_file(path))` works in
//! Python. [`load()`] and [`load_features`] read safetensors and PyTorch's `.pth`, whichever the file holds:
//! they look inside, not at its name.

mod checkpoint;
mod error;
#[cfg(feature = "download")]
mod fetch;
mod load;
mod names;
#[cfg(feature = "onnx")]
mod onnx;
mod save;

pub use error::{Tensors, WeightsError};
#[cfg(feature = "download")]
pub use fetch::{Pretrained, fetch};
pub use load::{load, load_features};
#[cfg(feature = "onnx")]
pub use onnx::{OnnxImages, save_onnx};
pub use save::save_safetensors;
