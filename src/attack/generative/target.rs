//! What a generator is learned against.

use burn::tensor::Tensor;

use crate::attack::AttackError;
use crate::classifier::Frozen;

/// What a generator is learned against: the victim, or a copy of it.
pub(super) trait Target {
    /// Told of a batch and of what the generator makes of it, before the generator's step.
    fn learn(&mut self, images: &Tensor<4>, adversarial: &Tensor<4>) -> Result<(), AttackError>;

    /// Class scores as a part of the caller's graph: `[batch, classes]`.
    fn logits(&self, images: Tensor<4>) -> Tensor<2>;
}

/// The victim itself: its gradients are followed.
pub(super) struct WhiteBox<'a>(pub(super) &'a Frozen);

impl Target for WhiteBox<'_> {
    fn learn(&mut self, _images: &Tensor<4>, _adversarial: &Tensor<4>) -> Result<(), AttackError> {
        Ok(())
    }

    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.0.tracked_logits(images)
    }
}
