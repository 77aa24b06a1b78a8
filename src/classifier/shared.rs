//! A network that several classifiers ask.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::Classifier;

/// A network that several classifiers ask, at the same time if they like; clones are the same network. A lock
/// would hang where tasks of rayon ask it: whoever held it would run another of them while the kernels wait for
/// their own.
#[derive(Clone)]
pub(super) struct Shared(Arc<dyn Classifier + Send + Sync>);

impl Shared {
    pub(super) fn new(network: impl Classifier + Send + Sync + 'static) -> Self {
        Self(Arc::new(network))
    }
}

impl Classifier for Shared {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.0.logits(images)
    }

    fn num_classes(&self) -> usize {
        self.0.num_classes()
    }

    fn refuses(&self, channels: usize, height: usize, width: usize) -> Option<String> {
        self.0.refuses(channels, height, width)
    }
}
