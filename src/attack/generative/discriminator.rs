//! AdvGAN's discriminator.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Tensor};

use super::generator::norm_name;
use super::numbers::drawn;
use crate::batch_norm;
use crate::random::Purpose;

const WEIGHTS: Purpose = Purpose::named("initial weights of a discriminator");
/// The slope of the leaky ReLU below 0.
const SLOPE: f64 = 0.2;

/// AdvGAN's discriminator: convolutions 8-16-32 with stride 2 and leaky ReLU, batch norm after the second and
/// the third, and one to a logit for every patch that is left. Its sigmoid is in the loss.
///
/// `Discriminator` of mathcbc's advGAN_pytorch (`models.py`), with whose weights it exchanges under their
/// names.
#[derive(Module, Debug)]
pub struct Discriminator {
    /// The convolutions, the one to logits last.
    pub convs: Vec<Conv2d>,
    /// Batch norms of the second and the third convolution.
    pub norms: Vec<BatchNorm>,
}

impl Discriminator {
    /// The least side of an image of which a patch is left.
    pub(super) const LEAST_SIDE: usize = 24;

    /// For images of so many channels, the first convolution of this width, both at least 1; weights from the
    /// seed alone: N(0, 0.02), biases of 0.
    pub fn init(channels: usize, width: usize, device: &Device, seed: u64) -> Self {
        drawn(Self::blank(channels, width, device), WEIGHTS, seed)
    }

    /// One whose weights are still to come.
    pub(super) fn blank(channels: usize, width: usize, device: &Device) -> Self {
        let conv = |channels, kernel: usize, stride: usize| {
            Conv2dConfig::new(channels, [kernel, kernel]).with_stride([stride, stride]).init(device)
        };
        Self {
            convs: vec![
                conv([channels, width], 4, 2),
                conv([width, 2 * width], 4, 2),
                conv([2 * width, 4 * width], 4, 2),
                conv([4 * width, 1], 1, 1),
            ],
            norms: [2 * width, 4 * width].map(|width| BatchNormConfig::new(width).init(device)).into(),
        }
    }

    /// Logits of being an image of the data, one a patch.
    ///
    /// On an autodiff device batch norm uses the batch's statistics and moves the running ones.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`, at least 22x22
    /// - output: `[batch, 1, rows, columns]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let mut x = leaky_relu(self.convs[0].forward(images), SLOPE);
        for (conv, norm) in self.convs[1..].iter().zip(&self.norms) {
            x = leaky_relu(batch_norm::forward(norm, conv.forward(x)), SLOPE);
        }
        self.convs[3].forward(x)
    }

    /// Its parameter at this path as mathcbc's code calls it.
    pub(super) fn tensor_name(path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        let number = match parts[..2] {
            ["convs", "0"] => 0,
            ["convs", "1"] => 2,
            ["convs", "2"] => 5,
            ["convs", _] => 8,
            ["norms", "0"] => 3,
            _ => 6,
        };
        format!("model.{number}.{}", norm_name(parts[2]))
    }
}
