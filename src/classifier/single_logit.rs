//! Networks with one output as classifiers of two classes.

use burn::module::Module;
use burn::tensor::Tensor;

use super::Classifier;

/// A network with one output, the logit of the positive class under a sigmoid, as a classifier of two
/// classes.
///
/// The logits are `[0, z]`, so that the softmax of the second is `sigmoid(z)`, and the cross-entropy of both
/// is the binary cross-entropy of `z` (PyTorch's `BCEWithLogitsLoss`). Class 0 is the negative one.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use histoguard::classifier::{Frozen, SingleLogit};
/// use histoguard::model::{DenseNetConfig, Normalized};
/// use histoguard::pixels::Normalization;
///
/// let device = Device::default();
/// let net = DenseNetConfig::densenet121(1).init(&device);
/// let victim = Frozen::new(SingleLogit::new(Normalized::new(net, Normalization::IMAGENET)));
/// assert_eq!(victim.logits(Tensor::full([1, 3, 32, 32], 0.5, &device)).dims(), [1, 2]);
/// ```
#[derive(Module, Debug)]
pub struct SingleLogit<C: Module> {
    /// The network with one output.
    pub network: C,
}

impl<C: Module> SingleLogit<C> {
    /// Both classes of a network with one output.
    pub fn new(network: C) -> Self {
        Self { network }
    }
}

impl<C: Classifier + Module> Classifier for SingleLogit<C> {
    /// # Panics
    ///
    /// Panics if the network has more than one output.
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        let positive = self.network.logits(images);
        let [_, outputs] = positive.dims();
        assert_eq!(outputs, 1, "SingleLogit: expected a network with one output, found {outputs}");
        Tensor::cat(vec![positive.zeros_like(), positive], 1)
    }

    fn num_classes(&self) -> usize {
        2
    }

    fn refuses(&self, channels: usize, height: usize, width: usize) -> Option<String> {
        self.network.refuses(channels, height, width)
    }

    fn min_training_batch(&self, image_size: usize) -> usize {
        self.network.min_training_batch(image_size)
    }

    fn seal(&mut self) {
        self.network.seal();
    }
}
