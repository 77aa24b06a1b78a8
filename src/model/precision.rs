//! In what arithmetic input gradients are computed.

/// Arithmetic of the convolutions behind an input gradient, for
/// [`DenseNet::with_gradient_precision`](super::DenseNet::with_gradient_precision).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Single precision: 24 significant bits.
    #[default]
    Float32,
    /// Products of numbers with 8 significant bits (bfloat16), added up in single precision.
    Bfloat16,
}

/// Why this machine or build cannot compute in a [`Precision`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gradients in bfloat16: expected {expected}, found {found}")]
pub struct PrecisionError {
    /// What it takes.
    pub expected: &'static str,
    /// What there is.
    pub found: String,
}
