//! DenseNet with torchvision's part names, and normalisation as a network's first layer.

mod dense_block;
mod densenet;
mod features;
mod fine_tune;
#[cfg(feature = "flex")]
mod fused;
mod head;
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
mod precision;
mod transition;
#[cfg(not(feature = "flex"))]
mod unfused;

use crate::batch_norm;
#[cfg(not(feature = "flex"))]
use unfused as fused;

pub use dense_block::{DenseBlock, DenseLayer};
pub use densenet::{DenseNet, DenseNetConfig};
pub use features::Features;
pub use fine_tune::{FineTune, Trainable};
pub use fused::release_memory;
pub use normalized::Normalized;
pub use precision::{Precision, PrecisionError};
pub use transition::Transition;
