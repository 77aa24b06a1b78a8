//! Without the CPU backend there is no fast path: every network is composed of the backend's operations.

use burn::tensor::Tensor;

use super::DenseNet;

pub(super) fn embed(_net: &DenseNet, _images: &Tensor<4>) -> Option<Tensor<2>> {
    None
}

pub(super) fn classify(_net: &DenseNet, _pooled: &Tensor<2>) -> Option<Tensor<2>> {
    None
}

/// Frees the working memory of the CPU kernels, of which this build has none.
pub fn release_memory() {}
