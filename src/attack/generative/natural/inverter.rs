//! The inverter from images to codes.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Tensor};

use super::super::numbers::drawn_as;
use super::config::{LatentConfig, SLOPE, he};
use crate::parameter::{self, ParameterError};
use crate::random::Purpose;

const WEIGHTS: Purpose = Purpose::named("initial weights of an inverter");

/// An inverter from images to codes: convolutions as the [`Critic`](super::Critic)'s and two linear layers,
/// leaky ReLU between; its form is [`LatentConfig`]'s.
#[derive(Module, Debug)]
pub struct Inverter {
    /// The convolutions.
    pub convs: Vec<Conv2d>,
    /// To 8 times the width.
    pub hidden: Linear,
    /// To the code.
    pub linear: Linear,
}

impl Inverter {
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
        let hidden = 8 * config.width;
        Self {
            convs: config.halvings(device),
            hidden: LinearConfig::new(config.values(), hidden).init(device),
            linear: LinearConfig::new(hidden, config.latent).init(device),
        }
    }

    /// A code an image.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`
    /// - output: `[batch, latent]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = images;
        for conv in &self.convs {
            x = leaky_relu(conv.forward(x), SLOPE);
        }
        let hidden = leaky_relu(self.hidden.forward(x.flatten::<2>(1, 3)), SLOPE);
        self.linear.forward(hidden)
    }
}
