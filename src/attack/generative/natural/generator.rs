//! The generator of images from codes.

use burn::module::Module;
use burn::nn::conv::{ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};

use super::super::numbers::drawn_as;
use super::config::{LatentConfig, he};
use crate::parameter::{self, ParameterError};
use crate::random::Purpose;

const WEIGHTS: Purpose = Purpose::named("initial weights of a generator from codes");

/// A generator of images from codes: a linear layer to a sixteenth of the sides, four transposed
/// convolutions that double them, ReLU between, a sigmoid at the end; its form is [`LatentConfig`]'s.
#[derive(Module, Debug)]
pub struct LatentGenerator {
    /// Lays a code out on the smallest grid.
    pub linear: Linear,
    /// Transposed convolutions, the one to images last.
    pub deconvs: Vec<ConvTranspose2d>,
    grid: [usize; 2],
}

impl LatentGenerator {
    /// One with weights from the seed alone, as He et al. draw them, biases of 0.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] if the configuration is out of its documented range.
    pub fn init(config: LatentConfig, device: &Device, seed: u64) -> Result<Self, ParameterError> {
        parameter::check(config.parameters())?;
        Ok(drawn_as(Self::blank(config, device), WEIGHTS, seed, he))
    }

    /// One whose weights are still to come.
    pub(super) fn blank(config: LatentConfig, device: &Device) -> Self {
        let deconv = |channels: &[usize]| {
            ConvTranspose2dConfig::new([channels[1], channels[0]], [4, 4])
                .with_stride([2, 2])
                .with_padding([1, 1])
                .init(device)
        };
        Self {
            linear: LinearConfig::new(config.latent, config.values()).init(device),
            deconvs: config.channels().windows(2).rev().map(deconv).collect(),
            grid: config.grid(),
        }
    }

    /// Images in \[0,1\].
    ///
    /// # Shapes
    ///
    /// - `codes`: `[batch, latent]`
    /// - output: `[batch, channels, height, width]`
    pub fn forward(&self, codes: Tensor<2>) -> Tensor<4> {
        let (laid_out, [height, width]) = (self.linear.forward(codes), self.grid);
        let [batch, size] = laid_out.dims();
        let mut x = relu(laid_out).reshape([batch, size / (height * width), height, width]);
        let (last, before) = self.deconvs.split_last().expect("four of them");
        for deconv in before {
            x = relu(deconv.forward(x));
        }
        sigmoid(last.forward(x))
    }
}
