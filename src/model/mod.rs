//! DenseNet with torchvision's part names, and normalisation as a network's first layer.

mod batch_norm;
mod dense_block;
mod densenet;
mod init;
mod normalized;
mod transition;

pub use dense_block::{DenseBlock, DenseLayer};
pub use densenet::{DenseNet, DenseNetConfig, Features};
pub use normalized::Normalized;
pub use transition::Transition;
