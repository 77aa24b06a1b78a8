//! MagNet's autoencoders.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2dConfig, MaxPool2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::defense::detector::image_map::ImageMap;
use crate::parameter::{self, Parameter, ParameterError};
use crate::random::{Purpose, RngExt, generator};
use crate::weights::Checkpointed;

const WEIGHTS: Purpose = Purpose::named("initial weights of an autoencoder");

/// A layer of the half that encodes; the other half mirrors it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// A 3x3 convolution to so many channels, with its activation; mirrored by another one.
    Conv(usize),
    /// The mean of 2x2 pixels; mirrored by doubling each pixel.
    AveragePool,
    /// The largest of 2x2 pixels; mirrored by doubling each pixel.
    MaxPool,
}

/// What follows every convolution but the last, which always has a sigmoid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Between 0 and 1.
    Sigmoid,
    /// The positive part.
    Relu,
}

/// The form of an autoencoder: `layers`, their mirror image, and a convolution back to the images' channels
/// with a sigmoid.
///
/// Meng & Chen, "MagNet: A Two-Pronged Defense against Adversarial Examples", CCS 2017, tables 3 and 4; the
/// form of `DenoisingAutoEncoder` in the authors' `defensive_models.py`, with which weights can be exchanged
/// layer by layer.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | channels | 3 | at least 1 |
/// | convolutions | one to 3 channels | at least 1 |
/// | channels of a convolution | 3 | at least 1 |
/// | activation | sigmoid | |
///
/// ```
/// use histoguard::defense::detector::AutoencoderConfig;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let config = AutoencoderConfig::new();
/// let autoencoder = config.init(&device, 0)?;
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("autoencoder.safetensors");
/// weights::save_safetensors(&autoencoder, &file)?;
/// let again = weights::load(config.init(&device, 1)?, &file)?;
/// let images = Tensor::<4>::full([1, 3, 8, 8], 0.5, &device);
/// assert_eq!(again.forward(images.clone()).into_data(), autoencoder.forward(images).into_data());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct AutoencoderConfig {
    /// Channels of the images.
    #[config(default = 3)]
    pub channels: usize,
    /// The half that encodes.
    #[config(default = "vec![Layer::Conv(3)]")]
    pub layers: Vec<Layer>,
    /// What follows every convolution but the last.
    #[config(default = "Activation::Sigmoid")]
    pub activation: Activation,
}

impl AutoencoderConfig {
    /// The paper's for CIFAR-10: one convolution to 3 channels, its mirror and the way back, for RGB images
    /// of any size.
    pub fn cifar10() -> Self {
        Self::new()
    }

    /// The paper's first one for MNIST, 3-average-3, for images of even height and width.
    pub fn mnist_i() -> Self {
        let layers = vec![Layer::Conv(3), Layer::AveragePool, Layer::Conv(3)];
        Self::new().with_channels(1).with_layers(layers)
    }

    /// The paper's second one for MNIST: one convolution to 3 channels.
    pub fn mnist_ii() -> Self {
        Self::new().with_channels(1)
    }

    /// An autoencoder with weights from the seed alone: Glorot's uniform distribution and biases of 0, as
    /// Keras has them.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] if a parameter is out of its documented range.
    pub fn init(&self, device: &Device, seed: u64) -> Result<Autoencoder, ParameterError> {
        parameter::check(self.parameters())?;
        let mut widths = vec![self.channels];
        widths.extend(self.convolutions());
        widths.extend(self.convolutions().rev());
        widths.push(self.channels);
        let convs = widths.windows(2).enumerate().map(|(number, pair)| {
            let config = Conv2dConfig::new([pair[0], pair[1]], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_initializer(Initializer::Zeros);
            let mut conv = config.init(device);
            let shape = [pair[1], pair[0], 3, 3];
            let bound = (6.0 / (9.0 * (pair[0] + pair[1]) as f64)).sqrt() as f32;
            let mut rng = generator(WEIGHTS, seed, &[number as u64]);
            let values: Vec<f32> =
                (0..shape.iter().product()).map(|_| rng.random_range(-bound..bound)).collect();
            conv.weight = Param::from_data(TensorData::new(values, shape), device);
            conv
        });
        Ok(Autoencoder { convs: convs.collect(), config: self.clone() })
    }

    fn convolutions(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.layers.iter().filter_map(|layer| if let Layer::Conv(to) = layer { Some(*to) } else { None })
    }

    fn pools(&self) -> usize {
        self.layers.iter().filter(|layer| !matches!(layer, Layer::Conv(_))).count()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let count = self.convolutions().count();
        let least = self.convolutions().min().unwrap_or(1);
        vec![
            Parameter::at_least("channels", self.channels, 1),
            Parameter::at_least("convolutions", count, 1),
            Parameter::at_least("channels of a convolution", least, 1),
        ]
    }
}

/// An autoencoder of images, made by [`AutoencoderConfig`].
#[derive(Module, Debug)]
pub struct Autoencoder {
    /// The convolutions in their order, the way back to the images last.
    pub convs: Vec<Conv2d>,
    #[module(skip)]
    config: AutoencoderConfig,
}

impl Checkpointed for Autoencoder {}

impl Autoencoder {
    /// The reconstruction, between 0 and 1.
    ///
    /// # Shapes
    ///
    /// - `images`, output: `[batch, channels, height, width]`; height and width divisible by 2 for every
    ///   pooling layer
    ///
    /// # Panics
    ///
    /// Panics on another number of channels and on sizes that do not divide.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        self.run(images, |_| {})
    }

    /// The reconstruction, and the sum of the squares of every layer's activations, one value an image
    /// `[batch]`.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_with_activity(&self, images: Tensor<4>) -> (Tensor<4>, Tensor<1>) {
        let batch = images.dims()[0];
        let mut activity = Vec::new();
        let reconstruction = self.run(images, |layer| {
            activity.push(layer.clone().square().sum_dims(&[1, 2, 3]).reshape([batch]));
        });
        let activity = activity.into_iter().reduce(|sum: Tensor<1>, layer| sum + layer);
        (reconstruction, activity.expect("one convolution at least"))
    }

    fn run(&self, images: Tensor<4>, mut watch: impl FnMut(&Tensor<4>)) -> Tensor<4> {
        let [_, channels, height, width] = images.dims();
        let AutoencoderConfig { layers, activation, .. } = &self.config;
        assert_eq!(channels, self.config.channels, "images: channels of the autoencoder");
        let factor = 1 << self.config.pools();
        assert!(
            height % factor == 0 && width % factor == 0,
            "images: expected height and width divisible by {factor}, found {height}x{width}"
        );
        let mut convs = self.convs.iter();
        let mut convolve = |x: Tensor<4>| {
            let x = convs.next().expect("as many as there are layers").forward(x);
            let x = match activation {
                Activation::Sigmoid => sigmoid(x),
                Activation::Relu => relu(x),
            };
            watch(&x);
            x
        };
        let mut x = images;
        for layer in layers {
            x = match layer {
                Layer::Conv(_) => convolve(x),
                Layer::AveragePool => AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init().forward(x),
                Layer::MaxPool => MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init().forward(x),
            };
        }
        for layer in layers.iter().rev() {
            x = if let Layer::Conv(_) = layer { convolve(x) } else { doubled(x) };
        }
        let x = sigmoid(self.convs.last().expect("one convolution at least").forward(x));
        watch(&x);
        x
    }

    /// Its frozen copy as a function, for detectors and the reformer.
    pub fn frozen(&self, name: impl Into<String>) -> ImageMap {
        let network = self.valid();
        ImageMap::new(name, move |images| network.forward(images))
    }
}

/// Every pixel four times.
fn doubled(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height, 1, width, 1])
        .expand([batch, channels, height, 2, width, 2])
        .reshape([batch, channels, 2 * height, 2 * width])
}
