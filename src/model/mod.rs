//! DenseNet with torchvision's part names, and normalisation as a network's first layer.

mod batch_norm;
mod dense_block;
mod densenet;
#[cfg(feature = "flex")]
mod fused;
#[cfg(not(feature = "flex"))]
#[path = "unfused.rs"]
mod fused;
mod init;
#[cfg(feature = "flex")]
#[allow(unsafe_code)]
mod kernels;
#[cfg(feature = "flex")]
mod linear;
mod normalized;
#[cfg(feature = "flex")]
mod operation;
mod packed_cache;
mod parts;
mod transfer;
mod transition;

pub use dense_block::{DenseBlock, DenseLayer};
pub use densenet::{DenseNet, DenseNetConfig, Features};
pub use fused::release_memory;
pub use normalized::Normalized;
pub use transfer::{Trainable, Transfer};
pub use transition::Transition;
