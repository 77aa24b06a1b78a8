//! Normalisation as a network's first layer.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use crate::classifier::{Classifier, Embed};
use crate::pixels::Normalization;

/// A network that takes images in \[0,1\]: each channel becomes `(x - mean) / std` first.
///
/// Budgets of attacks are in pixel units because of this layer, and training, attack and evaluation cannot
/// disagree about it.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use histoguard::classifier::Classifier;
/// use histoguard::model::{DenseNetConfig, Normalized};
/// use histoguard::pixels::Normalization;
///
/// let device = Device::default();
/// let net = DenseNetConfig::densenet121(2).init(&device);
/// let model = Normalized::new(net, Normalization::IMAGENET);
/// let images = Tensor::<4>::full([1, 3, 32, 32], 0.5, &device);
/// assert_eq!(model.logits(images).dims(), [1, 2]);
/// ```
#[derive(Module, Debug)]
pub struct Normalized<C: Module> {
    /// The network, which takes normalised images.
    pub network: C,
    /// What the network expects of each channel.
    #[module(skip)]
    pub normalization: Normalization,
}

impl<C: Module> Normalized<C> {
    /// A network behind its normalisation.
    pub fn new(network: C, normalization: Normalization) -> Self {
        Self { network, normalization }
    }

    /// The images as the network expects them.
    ///
    /// # Shapes
    ///
    /// - `images`, output: `[batch, channels, height, width]`; channels past the third are treated as the
    ///   third
    pub fn normalize(&self, images: Tensor<4>) -> Tensor<4> {
        let [_, channels, _, _] = images.dims();
        let device = images.device().inner();
        let constant = |value: fn((f64, f64)) -> f64| {
            let values: Vec<f32> =
                (0..channels).map(|c| value(self.normalization.channel(c)) as f32).collect();
            let tensor = Tensor::<4>::from_data(TensorData::new(values, [1, channels, 1, 1]), &device);
            match images.device().is_autodiff() {
                true => tensor.autodiff(),
                false => tensor,
            }
        };
        (images.clone() - constant(|(mean, _)| mean)) / constant(|(_, std)| std)
    }
}

impl<C: Classifier + Module> Classifier for Normalized<C> {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.network.logits(self.normalize(images))
    }

    fn num_classes(&self) -> usize {
        self.network.num_classes()
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

impl<C: Embed + Module> Embed for Normalized<C> {
    fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        self.network.embed(self.normalize(images))
    }

    fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.network.head(features)
    }
}
