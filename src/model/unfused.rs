//! Without the CPU backend there is no fast path: every network is composed of the backend's operations.

use burn::nn::Linear;
use burn::tensor::Tensor;

use super::features::Features;
use super::packed_cache::PackedCache;

pub(super) fn embed(_: &Features, _: &PackedCache, _: &Tensor<4>) -> Option<Tensor<2>> {
    None
}

pub(super) fn classify(_: &Linear, _: &Tensor<2>) -> Option<Tensor<2>> {
    None
}

/// Frees the working memory of the CPU kernels, of which this build has none.
pub fn release_memory() {}
