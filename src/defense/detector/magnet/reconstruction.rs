//! MagNet's detector by reconstruction error.

use burn::tensor::Tensor;
use serde::Serialize;

use crate::defense::detector::base::Detector;
use crate::defense::detector::error::DetectorError;
use crate::defense::detector::image_map::ImageMap;
use crate::parameter::Parameter;

/// How far an image is from its reconstruction: `mean |x - AE(x)|^p` over channels and pixels.
///
/// Meng & Chen, CCS 2017, section 4.2.1. In the paper p is 2 and 1 for the two autoencoders of MNIST, 1 for
/// CIFAR-10. Evaded with a small extra distortion by attacks that know it: Carlini & Wagner, "MagNet and
/// 'Efficient Defenses Against Adversarial Attacks' are Not Robust to Adversarial Examples",
/// arXiv:1711.08478.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | power p | required | 1 or 2 |
#[derive(Debug, Serialize)]
pub struct ReconstructionError {
    autoencoder: ImageMap,
    power: usize,
}

impl ReconstructionError {
    /// With this autoencoder, for example [`Autoencoder::frozen`](super::Autoencoder::frozen), and this
    /// power.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Parameter`] on a power other than 1 and 2.
    pub fn new(autoencoder: ImageMap, power: usize) -> Result<Self, DetectorError> {
        Parameter::new("power", "1 or 2", matches!(power, 1 | 2), power).check()?;
        Ok(Self { autoencoder, power })
    }
}

impl Detector for ReconstructionError {
    fn name(&self) -> String {
        format!("reconstruction error ({}, p = {})", self.autoencoder.name(), self.power)
    }

    fn score(&self, images: Tensor<4>) -> Tensor<1> {
        let batch = images.dims()[0];
        let change = images.clone() - self.autoencoder.apply(images);
        let size = if self.power == 1 { change.abs() } else { change.square() };
        size.mean_dims(&[1, 2, 3]).reshape([batch])
    }
}
