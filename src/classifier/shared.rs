//! A network that several classifiers ask.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::Tensor;

use super::Classifier;

/// A network that several classifiers ask, one at a time; clones are the same network.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Box<dyn Classifier + Send>>>);

impl Shared {
    pub(super) fn new(network: impl Classifier + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(network))))
    }

    fn network(&self) -> MutexGuard<'_, Box<dyn Classifier + Send>> {
        // A frozen network is not left half changed by a panic, so a poisoned lock is as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Classifier for Shared {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.network().logits(images)
    }

    fn num_classes(&self) -> usize {
        self.network().num_classes()
    }

    fn refuses(&self, channels: usize, height: usize, width: usize) -> Option<String> {
        self.network().refuses(channels, height, width)
    }
}
