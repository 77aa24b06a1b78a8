//! AdvGAN's generator.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, InstanceNormConfig};
use burn::tensor::activation::{relu, tanh};
use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::numbers::drawn;
use crate::batch_norm;
use crate::parameter::{self, Parameter, ParameterError};
use crate::random::Purpose;

const WEIGHTS: Purpose = Purpose::named("initial weights of a generator");

/// What follows the first and the last convolutions of AdvGAN's generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeneratorNorm {
    /// Instance norm without weights, as in mathcbc's code: every channel has a mean of 0 in every image, so
    /// that how much of something an image holds is nearly lost.
    Instance,
    /// Batch norm: keeps what tells images from each other, their stains too.
    Batch,
}

/// The form of AdvGAN's generator, from images to outputs of a `tanh` of the same shape.
///
/// `Generator` of mathcbc's advGAN_pytorch (`models.py`), whose weights it takes under their names: three
/// convolutions with instance norm, residual blocks with batch norm and reflection padding, three transposed
/// convolutions. Without padding before and after, so height and width have to be divisible by 4.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | channels | required | at least 1 |
/// | width | 8, of the first convolution: 8-16-32 | at least 1 |
/// | blocks | 4 | at least 1 |
/// | norm | instance | |
///
/// ```
/// use histoguard::attack::GeneratorConfig;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let generator = GeneratorConfig::new(3).init(&device, 0)?;
/// let outputs = generator.forward(Tensor::zeros([1, 3, 16, 24], &device));
/// assert_eq!(outputs.dims(), [1, 3, 16, 24]);
/// # Ok::<(), histoguard::parameter::ParameterError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub struct GeneratorConfig {
    /// Channels of the images.
    pub channels: usize,
    /// Channels of the first convolution; the next ones have twice and four times as many.
    #[config(default = 8)]
    pub width: usize,
    /// Residual blocks.
    #[config(default = 4)]
    pub blocks: usize,
    /// After the first and the last convolutions.
    #[config(default = "GeneratorNorm::Instance")]
    pub norm: GeneratorNorm,
}

impl GeneratorConfig {
    /// A generator with weights from the seed alone: N(0, 0.02), biases of 0.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] if a parameter is out of its documented range.
    pub fn init(&self, device: &Device, seed: u64) -> Result<Generator, ParameterError> {
        parameter::check(self.parameters())?;
        Ok(drawn(self.blank(device), WEIGHTS, seed))
    }

    /// One whose weights are still to come.
    pub(super) fn blank(&self, device: &Device) -> Generator {
        let Self { channels, width, blocks, norm } = *self;
        let norms = |widths: &[usize]| match norm {
            GeneratorNorm::Instance => Vec::new(),
            GeneratorNorm::Batch => {
                widths.iter().map(|&width| BatchNormConfig::new(width).init(device)).collect()
            }
        };
        let conv =
            |channels, stride| Conv2dConfig::new(channels, [3, 3]).with_stride([stride, stride]).init(device);
        Generator {
            encoder: vec![
                conv([channels, width], 1),
                conv([width, 2 * width], 2),
                conv([2 * width, 4 * width], 2),
            ],
            encoder_norms: norms(&[width, 2 * width, 4 * width]),
            bottle_neck: (0..blocks).map(|_| ResnetBlock::new(4 * width, device)).collect(),
            decoder: vec![
                deconv([4 * width, 2 * width], 3, 2, device),
                deconv([2 * width, width], 3, 2, device),
                deconv([width, channels], 6, 1, device),
            ],
            decoder_norms: norms(&[2 * width, width]),
        }
    }

    pub(super) fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::at_least("channels", self.channels, 1),
            Parameter::at_least("width", self.width, 1),
            Parameter::at_least("blocks", self.blocks, 1),
        ]
    }

    /// Height and width of images that it can work on.
    pub(super) fn fits([_, height, width]: [usize; 3], least: usize) -> Parameter {
        let range = format!("height and width divisible by 4 and at least {least}");
        let fit = |side: usize| side >= least && side.is_multiple_of(4);
        Parameter::new("image shape", range, fit(height) && fit(width), format!("{height}x{width}"))
    }
}

/// A transposed convolution without bias and padding.
fn deconv(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> ConvTranspose2d {
    ConvTranspose2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_bias(false)
        .init(device)
}

/// AdvGAN's generator, made by [`GeneratorConfig`].
#[derive(Module, Debug)]
pub struct Generator {
    /// Convolutions, each with a norm and ReLU.
    pub encoder: Vec<Conv2d>,
    /// Their norms, none for instance norm.
    pub encoder_norms: Vec<BatchNorm>,
    /// Residual blocks.
    pub bottle_neck: Vec<ResnetBlock>,
    /// Transposed convolutions, with a norm and ReLU between them.
    pub decoder: Vec<ConvTranspose2d>,
    /// Their norms, none for instance norm.
    pub decoder_norms: Vec<BatchNorm>,
}

impl Generator {
    /// The least side of an image that leaves enough for a reflection.
    pub(super) const LEAST_SIDE: usize = 16;

    /// Outputs from -1 to 1.
    ///
    /// On an autodiff device batch norm uses the batch's statistics and moves the running ones.
    ///
    /// # Shapes
    ///
    /// - `images`, output: `[batch, channels, height, width]`; height and width divisible by 4 and at least
    ///   16
    ///
    /// # Panics
    ///
    /// Panics on other shapes.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let [_, channels, height, width] = images.dims();
        let fits = GeneratorConfig::fits([channels, height, width], Self::LEAST_SIDE).check();
        fits.unwrap_or_else(|error| panic!("{error}"));
        let mut x = images;
        for (layer, conv) in self.encoder.iter().enumerate() {
            x = relu(normed(conv.forward(x), self.encoder_norms.get(layer)));
        }
        for block in &self.bottle_neck {
            x = block.forward(x);
        }
        let (last, before) = self.decoder.split_last().expect("three of them");
        for (layer, deconv) in before.iter().enumerate() {
            x = relu(normed(deconv.forward(x), self.decoder_norms.get(layer)));
        }
        tanh(last.forward(x))
    }

    /// Its parameter at this path as mathcbc's code calls it.
    pub(super) fn tensor_name(path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        match parts[..] {
            [list @ ("encoder" | "decoder"), index, tensor] => {
                format!("{list}.{}.{tensor}", 3 * index.parse::<usize>().expect("an index"))
            }
            [list @ ("encoder_norms" | "decoder_norms"), index, tensor] => {
                let (list, index) = (&list[..7], 3 * index.parse::<usize>().expect("an index") + 1);
                format!("{list}.{index}.{}", norm_name(tensor))
            }
            ["bottle_neck", block, layer, tensor] => {
                format!("bottle_neck.{block}.{}", ResnetBlock::tensor_name(layer, tensor))
            }
            _ => path.to_string(),
        }
    }
}

/// Two 3x3 convolutions with batch norm beside the identity.
#[derive(Module, Debug)]
pub struct ResnetBlock {
    /// The first convolution, without bias.
    pub conv1: Conv2d,
    /// Its norm, followed by ReLU.
    pub norm1: BatchNorm,
    /// The second convolution, without bias.
    pub conv2: Conv2d,
    /// Its norm.
    pub norm2: BatchNorm,
}

impl ResnetBlock {
    pub(super) fn new(channels: usize, device: &Device) -> Self {
        let conv = || Conv2dConfig::new([channels, channels], [3, 3]).with_bias(false).init(device);
        let norm = || BatchNormConfig::new(channels).init(device);
        Self { conv1: conv(), norm1: norm(), conv2: conv(), norm2: norm() }
    }

    /// # Shapes
    ///
    /// - `x`, output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let padded = |x: Tensor<4>| x.pad((1, 1, 1, 1), PadMode::Reflect);
        let inner = batch_norm::forward(&self.norm1, self.conv1.forward(padded(x.clone())));
        x + batch_norm::forward(&self.norm2, self.conv2.forward(padded(relu(inner))))
    }

    pub(super) fn tensor_name(layer: &str, tensor: &str) -> String {
        let number = match layer {
            "conv1" => 1,
            "norm1" => 2,
            "conv2" => 5,
            _ => 6,
        };
        format!("conv_block.{number}.{}", norm_name(tensor))
    }
}

/// PyTorch's names of a norm's tensors.
pub(super) fn norm_name(tensor: &str) -> &str {
    match tensor {
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    }
}

/// Batch norm, or without one instance norm.
fn normed(x: Tensor<4>, norm: Option<&BatchNorm>) -> Tensor<4> {
    match norm {
        Some(norm) => batch_norm::forward(norm, x),
        None => instance_norm(x),
    }
}

/// Instance norm without weights, as `torch.nn.InstanceNorm2d` has it.
pub(super) fn instance_norm(x: Tensor<4>) -> Tensor<4> {
    InstanceNormConfig::new(x.dims()[1]).with_affine(false).init(&x.device()).forward(x)
}
