//! Reading and writing checkpoints.
//!
//! [`save_safetensors`] writes torchvision's names, so that `load_state_dict(load_file(path))` works in
//! Python. [`load()`] and [`load_features`] read safetensors and PyTorch's `.pth`, whichever the file holds:
//! they look inside, not at its name.

mod checkpoint;
mod error;
mod load;
mod names;
mod save;

pub use error::{Tensors, WeightsError};
pub use load::{load, load_features};
pub use save::save_safetensors;
