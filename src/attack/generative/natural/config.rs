//! The form of the networks between codes and images.

use burn::config::Config;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::Device;

use crate::parameter::Parameter;

/// The form of a generator from codes to images, of its critic and of its inverter.
///
/// As the networks of Zhao, Dua & Singh (`mnist_wgan_inv.py`), with the four doublings of DCGAN (Radford,
/// Metz & Chintala, ICLR 2016) for images of 64x64, and its 4x4 kernels with stride 2 and padding 1, where
/// theirs are 5x5 with the uneven padding of TensorFlow. None has a norm: the penalty on the critic's
/// gradients is one for each image (Gulrajani et al., NIPS 2017, section 4), and a generator with batch norm
/// would make other images while it learns than afterwards.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | image shape | required | channels at least 1, height and width divisible by 16 and at least 16 |
/// | latent | 64 | at least 1 |
/// | width | 64 | at least 1 |
///
/// ```
/// use histoguard::attack::{Inverter, LatentConfig, LatentGenerator};
/// use histoguard::prelude::*;
///
/// let (config, device) = (LatentConfig::new([3, 64, 64]).with_width(4), Device::default());
/// let image = LatentGenerator::init(config, &device, 0)?.forward(Tensor::zeros([1, 64], &device));
/// assert_eq!(image.dims(), [1, 3, 64, 64]);
/// assert_eq!(Inverter::init(config, &device, 0)?.forward(image).dims(), [1, 64]);
/// # Ok::<(), histoguard::parameter::ParameterError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub struct LatentConfig {
    /// Channels, height and width of the images.
    pub shape: [usize; 3],
    /// Numbers of a code.
    #[config(default = 64)]
    pub latent: usize,
    /// Channels at half the images' sides; 2, 4 and 8 times as many at a quarter, an eighth and a sixteenth.
    #[config(default = 64)]
    pub width: usize,
}

/// The slope of the leaky ReLU below 0, TensorFlow's.
pub(super) const SLOPE: f64 = 0.2;

impl LatentConfig {
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let [channels, height, width] = self.shape;
        let fit = |side: usize| side >= 16 && side.is_multiple_of(16);
        let range = "height and width divisible by 16 and at least 16";
        vec![
            Parameter::at_least("channels", channels, 1),
            Parameter::new("image shape", range, fit(height) && fit(width), format!("{height}x{width}")),
            Parameter::at_least("latent", self.latent, 1),
            Parameter::at_least("width", self.width, 1),
        ]
    }

    /// Height and width of the smallest grid.
    pub(super) fn grid(&self) -> [usize; 2] {
        [self.shape[1] / 16, self.shape[2] / 16]
    }

    /// Values on that grid.
    pub(super) fn values(&self) -> usize {
        8 * self.width * self.grid()[0] * self.grid()[1]
    }

    /// The layers' channels, from the images on.
    pub(super) fn channels(&self) -> [usize; 5] {
        let width = self.width;
        [self.shape[0], width, 2 * width, 4 * width, 8 * width]
    }

    /// Four convolutions that each halve the sides.
    pub(super) fn halvings(&self, device: &Device) -> Vec<Conv2d> {
        let conv = |channels: &[usize]| {
            Conv2dConfig::new([channels[0], channels[1]], [4, 4])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        };
        self.channels().windows(2).map(conv).collect()
    }
}

/// The deviation of initial weights by He et al. (ICCV 2015), as theirs: `sqrt(2 / n)` for the n inputs that
/// meet in an output.
pub(super) fn he(path: &str, shape: &[usize]) -> f32 {
    let inputs = match shape {
        // A transposed convolution of stride 2 meets every fourth place of its kernel.
        [from, _, rows, columns] if path.starts_with("deconvs") => from * rows * columns / 4,
        [_, from, rows, columns] => from * rows * columns,
        _ => shape.first().copied().unwrap_or(1),
    };
    (2.0 / inputs.max(1) as f32).sqrt()
}
