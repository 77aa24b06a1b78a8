//! AdvGAN++'s generator.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};

use super::generator::{ResnetBlock, instance_norm};
use super::numbers::drawn;
use crate::parameter::{self, Parameter, ParameterError};
use crate::random::Purpose;

const WEIGHTS: Purpose = Purpose::named("initial weights of a generator of images");
/// The least side that features and noise are laid out on.
const LEAST_SIDE: usize = 4;
/// No layer has more than so many times the width.
const WIDEST: usize = 4;

/// The form of AdvGAN++'s generator, from features of a network and noise to images.
///
/// The paper leaves its layers open. Here a linear layer lays both out on the smallest grid of at least 4x4
/// that doubles up to the images, residual blocks as AdvGAN's follow, then transposed convolutions that
/// double the sides and halve the channels down to `width`, with instance norm and ReLU as there, and a 3x3
/// convolution with a sigmoid.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | features | required | at least 1 |
/// | image shape | required | channels at least 1, height and width divisible by 4 and at least 16 |
/// | noise | 100 numbers | any |
/// | width | 8 | at least 1 |
/// | blocks | 4 | at least 1 |
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub struct FeatureGeneratorConfig {
    /// Features of an image.
    pub features: usize,
    /// Channels, height and width of the images.
    pub shape: [usize; 3],
    /// Random numbers beside the features.
    #[config(default = 100)]
    pub noise: usize,
    /// Channels of the last transposed convolution.
    #[config(default = 8)]
    pub width: usize,
    /// Residual blocks.
    #[config(default = 4)]
    pub blocks: usize,
}

impl FeatureGeneratorConfig {
    /// A generator with weights from the seed alone: N(0, 0.02), biases of 0.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] if a parameter is out of its documented range.
    pub fn init(&self, device: &Device, seed: u64) -> Result<FeatureGenerator, ParameterError> {
        parameter::check(self.parameters())?;
        Ok(drawn(self.blank(device), WEIGHTS, seed))
    }

    /// One whose weights are still to come.
    pub(super) fn blank(&self, device: &Device) -> FeatureGenerator {
        let (doublings, grid) = self.grid();
        let width = |level: usize| self.width * (1 << level.min(WIDEST.ilog2() as usize));
        let deconv = |level: usize| {
            ConvTranspose2dConfig::new([width(level + 1), width(level)], [4, 4])
                .with_stride([2, 2])
                .with_padding([1, 1])
                .with_bias(false)
                .init(device)
        };
        let widest = width(doublings);
        FeatureGenerator {
            linear: LinearConfig::new(self.features + self.noise, widest * grid[0] * grid[1]).init(device),
            bottle_neck: (0..self.blocks).map(|_| ResnetBlock::new(widest, device)).collect(),
            decoder: (0..doublings).rev().map(deconv).collect(),
            last: Conv2dConfig::new([width(0), self.shape[0]], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device),
            grid,
        }
    }

    /// How often the sides double, and those that they begin with.
    fn grid(&self) -> (usize, [usize; 2]) {
        let [_, mut height, mut width] = self.shape;
        let mut doublings = 0;
        while height.is_multiple_of(2) && width.is_multiple_of(2) && height.min(width) >= 2 * LEAST_SIDE {
            (height, width, doublings) = (height / 2, width / 2, doublings + 1);
        }
        (doublings, [height, width])
    }

    pub(super) fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::at_least("features", self.features, 1),
            Parameter::at_least("channels", self.shape[0], 1),
            Parameter::at_least("width", self.width, 1),
            Parameter::at_least("blocks", self.blocks, 1),
            super::generator::GeneratorConfig::fits(self.shape, super::generator::Generator::LEAST_SIDE),
        ]
    }
}

/// AdvGAN++'s generator, made by [`FeatureGeneratorConfig`].
#[derive(Module, Debug)]
pub struct FeatureGenerator {
    /// Lays features and noise out on a grid.
    pub linear: Linear,
    /// Residual blocks.
    pub bottle_neck: Vec<ResnetBlock>,
    /// Transposed convolutions, each with instance norm and ReLU.
    pub decoder: Vec<ConvTranspose2d>,
    /// To the images.
    pub last: Conv2d,
    grid: [usize; 2],
}

impl FeatureGenerator {
    /// Images in \[0,1\].
    ///
    /// On an autodiff device batch norm uses the batch's statistics and moves the running ones.
    ///
    /// # Shapes
    ///
    /// - `features`: `[batch, features]`, `noise`: `[batch, noise]`
    /// - output: `[batch, channels, height, width]`
    pub fn forward(&self, features: Tensor<2>, noise: Tensor<2>) -> Tensor<4> {
        let [height, width] = self.grid;
        let laid_out = self.linear.forward(Tensor::cat(vec![features, noise], 1));
        let [batch, size] = laid_out.dims();
        let mut x = relu(laid_out.reshape([batch, size / (height * width), height, width]));
        for block in &self.bottle_neck {
            x = block.forward(x);
        }
        for deconv in &self.decoder {
            x = relu(instance_norm(deconv.forward(x)));
        }
        sigmoid(self.last.forward(x))
    }

    /// Its parameter at this path as PyTorch would call it; the linear weight stays `[in, out]`.
    pub(super) fn tensor_name(path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        match parts[..] {
            ["bottle_neck", block, layer, tensor] => {
                format!("bottle_neck.{block}.{}", ResnetBlock::tensor_name(layer, tensor))
            }
            _ => path.to_string(),
        }
    }
}
