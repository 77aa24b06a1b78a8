//! Functions as classifiers, alone and around others.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::Classifier;
use super::average::Averaged;
use super::shared::Shared;

/// A function that asks a base.
pub(super) struct Wrapped<F> {
    pub(super) base: Averaged,
    pub(super) logits: F,
}

impl<F: Fn(&dyn Classifier, Tensor<4>) -> Tensor<2>> Classifier for Wrapped<F> {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        (self.logits)(&self.base, images)
    }

    fn num_classes(&self) -> usize {
        self.base.num_classes()
    }
}

/// A change of images.
pub(super) type Change = dyn Fn(Tensor<4>) -> Tensor<4> + Send + Sync;

/// A network behind a change of its images.
pub(super) struct Behind {
    pub(super) change: Arc<Change>,
    pub(super) network: Shared,
}

impl Classifier for Behind {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.network.logits((self.change)(images))
    }

    fn num_classes(&self) -> usize {
        self.network.num_classes()
    }
}

/// A function alone.
pub(super) struct Function<F> {
    pub(super) logits: F,
    pub(super) classes: usize,
}

impl<F: Fn(Tensor<4>) -> Tensor<2>> Classifier for Function<F> {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        (self.logits)(images)
    }

    fn num_classes(&self) -> usize {
        self.classes
    }
}
