//! Without the CPU backend there is no fast path: every network is composed of the backend's operations.

use burn::nn::Linear;
use burn::tensor::Tensor;

use super::features::Features;
use super::packed_cache::PackedCache;
use super::precision::{Precision, PrecisionError};

pub(super) fn embed(_: &Features, _: &PackedCache, _: Precision, _: &Tensor<4>) -> Option<Tensor<2>> {
    None
}

pub(super) fn classify(_: &Linear, _: &Tensor<2>) -> Option<Tensor<2>> {
    None
}

/// Nothing here computes in less than single precision.
pub(super) fn supports(_: &Features, precision: Precision) -> Result<(), PrecisionError> {
    match precision {
        Precision::Float32 => Ok(()),
        Precision::Bfloat16 => Err(PrecisionError {
            expected: "the crate's CPU kernels (the feature `flex`)",
            found: "a build without them".into(),
        }),
    }
}

/// Frees the working memory of the CPU kernels, of which this build has none.
pub fn release_memory() {}
