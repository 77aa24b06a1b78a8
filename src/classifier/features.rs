//! A frozen network seen at its last hidden layer.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{Classifier, Frozen};

/// A classifier in two parts: images to features, and features to logits.
pub trait Embed: Classifier {
    /// What the last layer sees.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`, values in \[0,1\]
    /// - output: `[batch, features]`
    fn embed(&self, images: Tensor<4>) -> Tensor<2>;

    /// Class scores from features: `head(embed(x))` is `logits(x)`.
    ///
    /// # Shapes
    ///
    /// - `features`: `[batch, features]`
    /// - output: `[batch, classes]`
    fn head(&self, features: Tensor<2>) -> Tensor<2>;
}

/// A frozen network that shows its features, for what watches a classifier: differentiable, so that an attack
/// that knows it can descend it. Copies share one network.
///
/// ```
/// use histoguard::classifier::FrozenFeatures;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let config = DenseNetConfig::new(2).with_block_config(vec![1]).with_num_init_features(4);
/// let model = Normalized::new(config.init(&device), Normalization::IMAGENET);
/// let network = FrozenFeatures::new(model);
/// assert_eq!(network.features(Tensor::ones([1, 3, 32, 32], &device)).dims(), [1, 36]);
/// ```
#[derive(Clone)]
pub struct FrozenFeatures {
    network: Arc<dyn Embed + Send + Sync>,
    device: Device,
    classes: usize,
}

impl FrozenFeatures {
    /// Freezes a burn module, as [`Frozen::new`] does.
    ///
    /// # Panics
    ///
    /// Panics if the module has no parameter.
    pub fn new<E: Embed + Module + Sync + 'static>(model: E) -> Self {
        let device = model.devices().first().expect("a module with at least one parameter").clone().inner();
        let mut copy = model.valid();
        copy.seal();
        Self::of(copy, device)
    }

    /// From closures: images `[batch, channels, height, width]` to features `[batch, n]`, and those to logits
    /// `[batch, classes]`. They must be pure functions in evaluation mode: this constructor cannot check it.
    pub fn from_fn(
        classes: usize,
        device: &Device,
        embed: impl Fn(Tensor<4>) -> Tensor<2> + Send + Sync + 'static,
        head: impl Fn(Tensor<2>) -> Tensor<2> + Send + Sync + 'static,
    ) -> Self {
        Self::of(Functions { embed, head, classes }, device.clone().inner())
    }

    /// Any frozen classifier, whose features are its logits. Queries count on its [watch](Frozen::watch).
    pub fn logits_of(classifier: Frozen) -> Self {
        let device = classifier.device().clone();
        Self::of(Logits(classifier), device)
    }

    fn of(network: impl Embed + Send + Sync + 'static, device: Device) -> Self {
        let classes = network.num_classes();
        Self { network: Arc::new(network), device, classes }
    }

    /// What the last layer sees: `[batch, channels, height, width]` to `[batch, features]`.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.network.embed(images)
    }

    /// Class scores of features: `[batch, features]` to `[batch, classes]`.
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.network.head(features)
    }

    /// Class scores of images: `[batch, channels, height, width]` to `[batch, classes]`.
    pub fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.network.logits(images)
    }

    /// What images the network expects, if it cannot look at images of these channels, height and width: as
    /// [`Classifier::refuses`].
    pub fn refuses(&self, channels: usize, height: usize, width: usize) -> Option<String> {
        self.network.refuses(channels, height, width)
    }

    /// The number of classes.
    pub fn num_classes(&self) -> usize {
        self.classes
    }

    /// The device of the weights, without autodiff.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl std::fmt::Debug for FrozenFeatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { classes, device, .. } = self;
        f.debug_struct("FrozenFeatures").field("classes", classes).field("device", device).finish()
    }
}

struct Functions<F, H> {
    embed: F,
    head: H,
    classes: usize,
}

impl<F: Fn(Tensor<4>) -> Tensor<2>, H: Fn(Tensor<2>) -> Tensor<2>> Classifier for Functions<F, H> {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        (self.head)((self.embed)(images))
    }

    fn num_classes(&self) -> usize {
        self.classes
    }
}

impl<F: Fn(Tensor<4>) -> Tensor<2>, H: Fn(Tensor<2>) -> Tensor<2>> Embed for Functions<F, H> {
    fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        (self.embed)(images)
    }

    fn head(&self, features: Tensor<2>) -> Tensor<2> {
        (self.head)(features)
    }
}

struct Logits(Frozen);

impl Classifier for Logits {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.0.tracked_logits(images)
    }

    fn num_classes(&self) -> usize {
        self.0.num_classes()
    }
}

impl Embed for Logits {
    fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        self.0.tracked_logits(images)
    }

    fn head(&self, features: Tensor<2>) -> Tensor<2> {
        features
    }
}
