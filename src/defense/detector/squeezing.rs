//! Feature squeezing.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use serde::Serialize;

use super::base::Detector;
use super::error::DetectorError;
use super::image_map::ImageMap;
use crate::classifier::FrozenFeatures;
use crate::parameter::Parameter;

/// How far the class probabilities move when the image is squeezed: `max_g |p(x) - p(g(x))|_1`, from 0 to 2.
///
/// Xu, Evans & Qi, "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018,
/// section 4.3. Their squeezers are a lower bit depth, a median filter and non-local means; here they are any
/// functions from images to images. With two classes the score is twice the change of one probability. Evaded
/// by attacks that know it: He, Wei, Chen, Carlini & Song, "Adversarial Example Defenses: Ensembles of Weak
/// Defenses are not Strong", WOOT 2017.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | squeezers | required | at least 1 |
#[derive(Debug, Serialize)]
pub struct FeatureSqueezing {
    squeezers: Vec<ImageMap>,
    #[serde(skip)]
    network: FrozenFeatures,
}

impl FeatureSqueezing {
    /// For this network, whose logits count, with these squeezers.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Parameter`] if there is no squeezer.
    pub fn new(network: FrozenFeatures, squeezers: Vec<ImageMap>) -> Result<Self, DetectorError> {
        Parameter::at_least("squeezers", squeezers.len(), 1).check()?;
        Ok(Self { squeezers, network })
    }
}

impl Detector for FeatureSqueezing {
    fn name(&self) -> String {
        let names: Vec<&str> = self.squeezers.iter().map(ImageMap::name).collect();
        format!("feature squeezing ({})", names.join(", "))
    }

    fn score(&self, images: Tensor<4>) -> Tensor<1> {
        let batch = images.dims()[0];
        let probabilities = |images| softmax(self.network.logits(images), 1);
        let plain = probabilities(images.clone());
        let moved = |squeezer: &ImageMap| {
            (plain.clone() - probabilities(squeezer.apply(images.clone()))).abs().sum_dim(1)
        };
        Tensor::cat(self.squeezers.iter().map(moved).collect(), 1).max_dim(1).reshape([batch])
    }
}
