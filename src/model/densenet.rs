//! The DenseNet family.

use burn::config::Config;
use burn::module::Module;
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::{BatchNormConfig, Linear, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor};

use super::dense_block::{DenseBlock, DenseLayer};
use super::features::Features;
use super::fused;
use super::head;
use super::init::Init;
use super::packed_cache::PackedCache;
use super::parts::Part;
use super::precision::{Precision, PrecisionError};
use super::transition::Transition;
use crate::classifier::{Classifier, Embed};

/// A member of the DenseNet family, as in `torchvision.models.densenet`.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | `num_classes` | required | at least 1 |
/// | `growth_rate` | 32 | at least 1 |
/// | `block_config` | 6, 12, 24, 16 | at least one block, each with at least one layer |
/// | `num_init_features` | 64 | at least 1 |
/// | `bn_size` | 4 | at least 1 |
/// | `in_channels` | 3 | at least 1 |
/// | `drop_rate` | 0 | \[0,1) |
///
/// Huang, Liu, van der Maaten & Weinberger, "Densely Connected Convolutional Networks", CVPR 2017.
///
/// ```
/// use burn::tensor::Device;
/// use histoguard::model::DenseNetConfig;
///
/// let net = DenseNetConfig::densenet121(2).init(&Device::default());
/// assert_eq!(net.num_weights(), 6_955_906);
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct DenseNetConfig {
    /// Number of classes.
    pub num_classes: usize,
    /// Channels that each dense layer adds.
    #[config(default = 32)]
    pub growth_rate: usize,
    /// Number of layers of each dense block.
    #[config(default = "vec![6, 12, 24, 16]")]
    pub block_config: Vec<usize>,
    /// Channels of the first convolution.
    #[config(default = 64)]
    pub num_init_features: usize,
    /// Bottleneck channels of a layer, in growth rates.
    #[config(default = 4)]
    pub bn_size: usize,
    /// Channels of the images.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Probability that dropout sets a new value to zero, in training only.
    #[config(default = 0.0)]
    pub drop_rate: f64,
}

impl DenseNetConfig {
    /// DenseNet-121: growth 32, blocks 6-12-24-16, 64 initial features.
    pub fn densenet121(num_classes: usize) -> Self {
        Self::new(num_classes)
    }

    /// DenseNet-169: growth 32, blocks 6-12-32-32, 64 initial features.
    pub fn densenet169(num_classes: usize) -> Self {
        Self::new(num_classes).with_block_config(vec![6, 12, 32, 32])
    }

    /// DenseNet-201: growth 32, blocks 6-12-48-32, 64 initial features.
    pub fn densenet201(num_classes: usize) -> Self {
        Self::new(num_classes).with_block_config(vec![6, 12, 48, 32])
    }

    /// DenseNet-161: growth 48, blocks 6-12-36-24, 96 initial features.
    pub fn densenet161(num_classes: usize) -> Self {
        Self::new(num_classes)
            .with_growth_rate(48)
            .with_block_config(vec![6, 12, 36, 24])
            .with_num_init_features(96)
    }

    /// The network with torchvision's initial weights, drawn from seed 0.
    ///
    /// # Panics
    ///
    /// Panics if a parameter is out of its documented range.
    pub fn init(&self, device: &Device) -> DenseNet {
        self.init_seeded(device, 0)
    }

    /// The network with initial weights that depend on `seed` alone, not on the device or its random state.
    ///
    /// As in torchvision: convolutions from He's normal distribution (fan in), batch norms 1 and 0, the
    /// classifier's weights uniform in +-1/sqrt(features) and its biases 0.
    ///
    /// # Panics
    ///
    /// Panics if a parameter is out of its documented range.
    pub fn init_seeded(&self, device: &Device, seed: u64) -> DenseNet {
        self.check();
        let mut init = Init::new(device, seed);
        let mut channels = self.num_init_features;
        let conv0 = init.conv([self.in_channels, channels], 7, 2, 3);
        let norm0 = BatchNormConfig::new(channels).init(device);
        let mut denseblocks = Vec::with_capacity(self.block_config.len());
        let mut transitions = Vec::with_capacity(self.block_config.len() - 1);
        let bottleneck = self.bn_size * self.growth_rate;
        for (index, &layers) in self.block_config.iter().enumerate() {
            if index > 0 {
                transitions.push(Transition::new(channels, &mut init));
                channels /= 2;
            }
            let layers = (0..layers).map(|_| {
                let layer =
                    DenseLayer::new(channels, bottleneck, self.growth_rate, self.drop_rate, &mut init);
                channels += self.growth_rate;
                layer
            });
            denseblocks.push(DenseBlock { layers: layers.collect() });
        }
        let pool0 = MaxPool2dConfig::new([3, 3])
            .with_strides([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init();
        let norm5 = BatchNormConfig::new(channels).init(device);
        DenseNet {
            features: Features { conv0, norm0, pool0, denseblocks, transitions, norm5 },
            classifier: init.linear(channels, self.num_classes),
            packed: PackedCache::default(),
            kernels: true,
            gradients: Precision::default(),
            logits: Precision::default(),
        }
    }

    fn check(&self) {
        assert!(self.num_classes > 0, "num_classes: expected at least 1, found 0");
        assert!(self.growth_rate > 0, "growth_rate: expected at least 1, found 0");
        assert!(self.num_init_features > 0, "num_init_features: expected at least 1, found 0");
        assert!(self.bn_size > 0, "bn_size: expected at least 1, found 0");
        assert!(self.in_channels > 0, "in_channels: expected at least 1, found 0");
        assert!(
            !self.block_config.is_empty() && !self.block_config.contains(&0),
            "block_config: expected at least one block, each with at least one layer, found {:?}",
            self.block_config
        );
        assert!(
            (0.0..1.0).contains(&self.drop_rate),
            "drop_rate: expected at least 0 and below 1, found {}",
            self.drop_rate
        );
    }
}

/// A DenseNet, made by [`DenseNetConfig`].
///
/// Clones share their running statistics, as burn's batch norms do: train one of them and the statistics of
/// the others move too. What [`weights::load`](crate::weights::load), `valid` and `train` return has its own.
#[derive(Module, Debug)]
pub struct DenseNet {
    /// Everything up to the last batch norm.
    pub features: Features,
    /// From pooled features to class scores.
    pub classifier: Linear,
    packed: PackedCache,
    #[module(skip)]
    kernels: bool,
    #[module(skip)]
    gradients: Precision,
    #[module(skip)]
    logits: Precision,
}

impl DenseNet {
    /// Class scores.
    ///
    /// On an autodiff device and while its batch norms are in training mode, the network uses batch
    /// statistics and moves its running ones; `valid()` and `freeze()` end that.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, in_channels, height, width]`, normalised as the weights expect; height and width
    ///   at least [`min_image_size`](Self::min_image_size)
    /// - output: `[batch, num_classes]`
    ///
    /// # Panics
    ///
    /// Panics on another number of channels, on smaller images, and in training on a batch that leaves the
    /// last batch norms one value a channel, as PyTorch does.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.classify(self.embed(images))
    }

    fn classify(&self, pooled: Tensor<2>) -> Tensor<2> {
        let fused = self.kernels.then(|| fused::classify(&self.classifier, &pooled)).flatten();
        fused.unwrap_or_else(|| head::forward(&self.classifier, pooled))
    }

    /// What the classifier sees: the features after the last ReLU, averaged over the image.
    ///
    /// # Shapes
    ///
    /// - `images`: as for [`forward`](Self::forward)
    /// - output: `[batch, features]`, 1024 for DenseNet-121
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        let [batch, channels, height, width] = images.dims();
        let expected = self.in_channels();
        assert_eq!(channels, expected, "images: expected {expected} channels, found {channels}");
        let least = self.min_image_size();
        assert!(
            height.min(width) >= least,
            "images: expected at least {least}x{least} pixels, found {height}x{width}"
        );
        if images.device().is_autodiff() && self.trains_last_norms() {
            let values = batch * self.last_side(height) * self.last_side(width);
            assert!(
                values != 1,
                "expected more than 1 value per channel when training, found {:?}",
                images.dims()
            );
        }
        let precision = if images.is_tracked() { self.gradients } else { self.logits };
        let fused = || fused::embed(&self.features, &self.packed, precision, &images);
        if let Some(pooled) = self.kernels.then(fused).flatten() {
            return pooled;
        }
        let features = relu(self.features.forward(images));
        adaptive_avg_pool2d(features, [1, 1]).flatten(1, 3)
    }

    /// Whether the crate's own CPU kernels may compute this network; they may unless told otherwise.
    ///
    /// They do so on the `flex` backend in single precision and give the numbers of burn's operations up to
    /// rounding, several times as fast; in evaluation mode an image's logits and gradient have the same bits
    /// in any batch. Other backends, and dropout in training, use burn's operations in any case.
    ///
    /// For a whole program, `HISTOGUARD_KERNELS=off` in the environment switches the kernels off, and
    /// `HISTOGUARD_SIMD=avx2` or `portable` keeps them from using the widest instructions of the machine
    /// (`avx512bf16` keeps gradients in bfloat16 from using AMX).
    pub fn with_kernels(mut self, kernels: bool) -> Self {
        self.kernels = kernels;
        self
    }

    /// In what arithmetic the crate's CPU kernels compute input gradients of this network in evaluation mode;
    /// single precision unless told otherwise.
    ///
    /// With [`Precision::Bfloat16`], 1x1 and, with AMX, 3x3 convolutions multiply in bfloat16 wherever the
    /// images track gradients: attacks craft three times as fast on a processor with AMX, with gradients
    /// nearer to the exact ones than those of PyTorch under autocast (`benches/accuracy.py --bf16`). Logits
    /// of images that track none, by which [`Frozen::logits`] judges, stay in single precision, and so does
    /// training. Norms, ReLU, the first convolution and all sums are in single precision in any case, and an
    /// image's gradient has the same bits in any batch. Where burn's operations compute the network
    /// ([`with_kernels`](Self::with_kernels)), this changes nothing.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use histoguard::classifier::Frozen;
    /// use histoguard::model::{DenseNetConfig, Precision};
    ///
    /// let net = DenseNetConfig::densenet121(2).init(&Device::default());
    /// let quick = net.clone().with_gradient_precision(Precision::Bfloat16);
    /// let victim = Frozen::new(quick.unwrap_or_else(|error| {
    ///     eprintln!("{error}");
    ///     net
    /// }));
    /// ```
    ///
    /// # Errors
    ///
    /// [`PrecisionError`] where neither AMX-BF16 (on Linux) nor AVX512-BF16 is at hand, `HISTOGUARD_SIMD`
    /// names another level, the network is not on the CPU, or the kernels are switched off or not compiled in.
    ///
    /// [`Frozen::logits`]: crate::classifier::Frozen::logits
    pub fn with_gradient_precision(mut self, precision: Precision) -> Result<Self, PrecisionError> {
        fused::supports(&self.features, precision)?;
        self.gradients = precision;
        Ok(self)
    }

    /// The same for logits and features in evaluation mode where the images track no gradients: inference
    /// that is three times as fast with AMX, whose logits are off in their third digit. Whatever is judged by
    /// such a network, by [`Frozen::logits`] too, is judged by those.
    ///
    /// # Errors
    ///
    /// As [`with_gradient_precision`](Self::with_gradient_precision).
    ///
    /// [`Frozen::logits`]: crate::classifier::Frozen::logits
    pub fn with_logit_precision(mut self, precision: Precision) -> Result<Self, PrecisionError> {
        fused::supports(&self.features, precision)?;
        self.logits = precision;
        Ok(self)
    }

    /// Whether a batch norm of the last block or behind it uses batch statistics in training; those before it
    /// see more values.
    fn trains_last_norms(&self) -> bool {
        let layers = self.features.denseblocks.last().into_iter().flat_map(|block| &block.layers);
        let mut norms = layers.flat_map(|layer| [&layer.norm1, &layer.norm2]).chain([&self.features.norm5]);
        norms.any(|norm| norm.training.is_enabled())
    }

    /// Side of the last block's features for images of this side: halved and rounded up by the first
    /// convolution and the pooling behind it, halved and rounded down by every transition.
    fn last_side(&self, side: usize) -> usize {
        side.div_ceil(2).div_ceil(2) >> self.features.transitions.len()
    }

    /// The smallest height and width that leave a pixel for the last block: 29 for four blocks.
    pub fn min_image_size(&self) -> usize {
        4 * ((1 << self.features.transitions.len()) - 1) + 1
    }

    /// The number of channels of its images.
    pub fn in_channels(&self) -> usize {
        self.features.conv0.weight.lazy_shape()[1]
    }

    /// The number of weights, as published: [`num_params`](Module::num_params) without the running
    /// statistics.
    pub fn num_weights(&self) -> usize {
        let features = self.features.parts().into_iter().map(|part| match part {
            Part::Conv(conv) => conv.num_params(),
            Part::Norm(norm) => norm.gamma.num_params() + norm.beta.num_params(),
        });
        features.sum::<usize>() + self.classifier.num_params()
    }
}

impl Classifier for DenseNet {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward(images)
    }

    fn num_classes(&self) -> usize {
        self.classifier.weight.lazy_shape()[1]
    }

    fn refuses(&self, channels: usize, height: usize, width: usize) -> Option<String> {
        let (expected, least) = (self.in_channels(), self.min_image_size());
        let fits = channels == expected && height.min(width) >= least;
        (!fits).then(|| format!("{expected} channels and at least {least}x{least} pixels"))
    }

    fn min_training_batch(&self, image_size: usize) -> usize {
        if self.last_side(image_size) <= 1 && self.trains_last_norms() { 2 } else { 1 }
    }

    fn seal(&mut self) {
        self.packed = PackedCache::sealed();
    }
}

/// The pooled features, as [`DenseNet::embed`] gives them.
impl Embed for DenseNet {
    fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        self.embed(images)
    }

    fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.classify(features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(config: DenseNetConfig) -> usize {
        config.init(&Device::default()).num_weights()
    }

    #[test]
    fn parameter_counts_are_the_published_ones() {
        // torchvision's `num_params` metadata of the weights of each network.
        assert_eq!(weights(DenseNetConfig::densenet121(1000)), 7_978_856);
        assert_eq!(weights(DenseNetConfig::densenet169(1000)), 14_149_480);
        assert_eq!(weights(DenseNetConfig::densenet201(1000)), 20_013_928);
        assert_eq!(weights(DenseNetConfig::densenet161(1000)), 28_681_000);
        // The paper's network, and TorchXRayVision's.
        assert_eq!(weights(DenseNetConfig::densenet121(2)), 6_955_906);
        assert_eq!(weights(DenseNetConfig::densenet121(18).with_in_channels(1)), 6_966_034);
    }

    #[test]
    fn initial_weights_depend_on_the_seed_alone() {
        let config = tiny();
        let device = Device::default();
        let weights = |seed| {
            let net = config.init_seeded(&device, seed);
            [net.features.conv0.weight.val().flatten::<1>(0, 3), net.classifier.weight.val().flatten(0, 1)]
                .map(|w| w.into_data().try_into_vec::<f32>().unwrap())
        };
        assert_eq!(weights(7), weights(7));
        assert_ne!(weights(7), weights(8));
        let [conv, linear] = weights(7);
        assert_ne!(conv[0], linear[0]);
    }

    #[test]
    fn convolutions_start_with_he_deviation_and_the_classifier_inside_its_bound() {
        let net = DenseNetConfig::densenet121(1000).init(&Device::default());
        let weight = net.features.conv0.weight.val();
        let deviation = weight.var(0).mean().into_scalar::<f32>().sqrt();
        let expected = (2.0f32 / (3.0 * 49.0)).sqrt();
        assert!((deviation / expected - 1.0).abs() < 0.02, "{deviation} against {expected}");
        let largest = net.classifier.weight.val().abs().max().into_scalar::<f32>();
        assert!((0.031..=0.03125).contains(&largest), "{largest}");
        assert_eq!(net.classifier.bias.unwrap().val().abs().max().into_scalar::<f32>(), 0.0);
    }

    #[test]
    fn any_image_from_29_pixels_up() {
        let net = DenseNetConfig::new(3)
            .with_growth_rate(2)
            .with_num_init_features(4)
            .with_block_config(vec![1, 1, 1, 1])
            .init(&Device::default());
        assert_eq!(net.min_image_size(), 29);
        for [height, width] in [[29, 29], [29, 50], [33, 30]] {
            let images = Tensor::ones([2, 3, height, width], &Device::default());
            assert_eq!(net.forward(images).dims(), [2, 3]);
        }
    }

    #[test]
    #[should_panic(expected = "expected at least 29x29 pixels, found 28x64")]
    fn smaller_images_are_refused() {
        let net = DenseNetConfig::densenet121(2).init(&Device::default());
        net.forward(Tensor::ones([1, 3, 28, 64], &Device::default()));
    }

    #[test]
    #[should_panic(expected = "expected 3 channels, found 1")]
    fn other_channels_are_refused() {
        tiny().init(&Device::default()).forward(Tensor::ones([1, 1, 64, 64], &Device::default()));
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        let bad = [
            DenseNetConfig::new(0),
            tiny().with_growth_rate(0),
            tiny().with_num_init_features(0),
            tiny().with_bn_size(0),
            tiny().with_in_channels(0),
            tiny().with_block_config(vec![]),
            tiny().with_block_config(vec![1, 0]),
            tiny().with_drop_rate(1.0),
            tiny().with_drop_rate(-0.1),
            tiny().with_drop_rate(f64::NAN),
        ];
        for config in bad {
            let result = std::panic::catch_unwind(|| config.init(&Device::default()));
            assert!(result.is_err(), "{config}");
        }
    }

    #[test]
    fn dropout_acts_in_training_only() {
        let device = Device::default().autodiff();
        let net = tiny().with_drop_rate(0.5).init(&device);
        let images = Tensor::<4>::random([4, 3, 32, 32], burn::tensor::Distribution::Default, &device);
        let same = |net: &DenseNet| {
            let [a, b] = [(); 2].map(|()| net.forward(images.clone()).into_data());
            a == b
        };
        assert!(!same(&net));
        assert!(same(&net.valid()));
    }

    fn tiny() -> DenseNetConfig {
        DenseNetConfig::new(2).with_growth_rate(2).with_num_init_features(4).with_block_config(vec![2, 1])
    }
}
