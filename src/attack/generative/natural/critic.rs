//! The critic of generated images, and the penalty on its gradients.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Tensor};

use super::super::numbers::drawn_as;
use super::config::{LatentConfig, SLOPE, he};
use crate::parameter::{self, ParameterError};
use crate::random::Purpose;

const WEIGHTS: Purpose = Purpose::named("initial weights of a critic");

/// A critic of images: four convolutions with stride 2 and leaky ReLU, and a linear layer to one score, high
/// for images of the data; its form is [`LatentConfig`]'s.
#[derive(Module, Debug)]
pub struct Critic {
    /// The convolutions.
    pub convs: Vec<Conv2d>,
    /// To the score.
    pub linear: Linear,
}

impl Critic {
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
        let linear = LinearConfig::new(config.values(), 1).init(device);
        Self { convs: config.halvings(device), linear }
    }

    /// A score an image.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`
    /// - output: `[batch]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<1> {
        let mut x = images;
        for conv in &self.convs {
            x = leaky_relu(conv.forward(x), SLOPE);
        }
        self.linear.forward(x.flatten::<2>(1, 3)).squeeze_dim(1)
    }

    /// How fast the scores change at these images in these directions: the critic's directional derivative,
    /// exactly, as a part of the caller's graph. It is linear between the kinks of its leaky ReLUs, so the
    /// directions go through the same layers without their biases, and the slopes of the images.
    ///
    /// # Shapes
    ///
    /// - `images`, `directions`: `[batch, channels, height, width]`
    /// - output: `[batch]`
    pub fn directional_derivative(&self, images: Tensor<4>, directions: Tensor<4>) -> Tensor<1> {
        self.along(directions, &self.slopes(images))
    }

    /// The slopes of the leaky ReLUs at these images, layer by layer: constants wherever they are smooth.
    fn slopes(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let fixed = self.valid();
        let mut x = images.inner();
        let mut slope = |conv: &Conv2d| {
            let y = conv.forward(x.clone());
            let slopes = y.ones_like().mask_fill(y.clone().greater_elem(0.0).bool_not(), SLOPE);
            x = y * slopes.clone();
            slopes
        };
        fixed.convs.iter().map(&mut slope).collect()
    }

    fn along(&self, directions: Tensor<4>, slopes: &[Tensor<4>]) -> Tensor<1> {
        let mut x = directions;
        for (conv, slopes) in self.convs.iter().zip(slopes) {
            let unbiased = Conv2d { bias: None, ..conv.clone() };
            x = unbiased.forward(x) * slopes.clone().autodiff();
        }
        let unbiased = Linear { bias: None, ..self.linear.clone() };
        unbiased.forward(x.flatten::<2>(1, 3)).squeeze_dim(1)
    }

    /// The penalty on gradients at these images, `mean (||d D(x) / dx||_2 - 1)^2`, with its exact gradient in
    /// the weights: Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville, "Improved Training of Wasserstein
    /// GANs", NIPS 2017, equation 3.
    ///
    /// burn differentiates once. That is enough: with the gradient `g` and `u = g / ||g||`, `||g||` is the
    /// directional derivative along `u`, and so is its derivative in the weights with `u` held constant, as
    /// `d||g|| = u . dg`. The critic has to be on an autodiff device.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`
    /// - output: `[1]`
    pub fn gradient_penalty(&self, images: Tensor<4>) -> Tensor<1> {
        let slopes = self.slopes(images.clone());
        // Linear as it is in the direction, its gradient there is the critic's in the images.
        let directions = images.inner().zeros_like().autodiff().require_grad();
        let along = self.valid().along(directions.clone(), &slopes);
        let gradient = directions.grad_remove(&mut along.sum().backward()).expect("in the graph");
        let lengths = gradient.clone().square().sum_dims(&[1, 2, 3]).sqrt();
        let unit = gradient / lengths.clamp_min(f32::MIN_POSITIVE);
        (self.along(unit.autodiff(), &slopes) - 1.0).square().mean()
    }
}
