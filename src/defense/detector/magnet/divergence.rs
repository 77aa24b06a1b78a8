//! MagNet's detector by probability divergence.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use serde::Serialize;

use crate::classifier::FrozenFeatures;
use crate::defense::detector::base::Detector;
use crate::defense::detector::error::DetectorError;
use crate::defense::detector::image_map::ImageMap;
use crate::parameter::Parameter;

/// How far the classifier's softened answer moves from an image to its reconstruction:
/// `JSD(softmax(f(x)/T), softmax(f(AE(x))/T))`, in nats, from 0 to ln 2.
///
/// Meng & Chen, CCS 2017, section 4.2.2; the reconstruction is clipped to \[0,1\] as in the authors'
/// `worker.py`. The paper has T = 10 and T = 40, together, for CIFAR-10.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | temperature T | required | a finite number above 0 |
#[derive(Debug, Serialize)]
pub struct ReconstructionDivergence {
    autoencoder: ImageMap,
    temperature: f64,
    #[serde(skip)]
    network: FrozenFeatures,
}

impl ReconstructionDivergence {
    /// With this autoencoder, for this network, whose logits count, at this temperature.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Parameter`] on a temperature out of its range.
    pub fn new(
        autoencoder: ImageMap,
        network: FrozenFeatures,
        temperature: f64,
    ) -> Result<Self, DetectorError> {
        Parameter::above_zero("temperature", temperature).check()?;
        Ok(Self { autoencoder, temperature, network })
    }
}

impl Detector for ReconstructionDivergence {
    fn name(&self) -> String {
        format!("reconstruction divergence ({}, T = {})", self.autoencoder.name(), self.temperature)
    }

    fn score(&self, images: Tensor<4>) -> Tensor<1> {
        let log_probabilities = |images| log_softmax(self.network.logits(images) / self.temperature, 1);
        let reconstruction = self.autoencoder.apply(images.clone()).clamp(0.0, 1.0);
        jensen_shannon(log_probabilities(images), log_probabilities(reconstruction))
    }
}

/// Below this half log ratio the logarithm of its hyperbolic cosine is computed from its tangent.
const SMALL: f64 = 1.0;

/// The Jensen-Shannon divergence of the rows of two tables of log-probabilities, in nats: SciPy's
/// `jensenshannon` squared.
///
/// With `d` half the log ratio it is `1/2 sum (p + q) (d tanh d - ln cosh d)`, whose terms are of second
/// order each, so that nothing cancels where the two are close, as they are at high temperatures.
///
/// # Shapes
///
/// - `log_p`, `log_q`: `[batch, classes]`
/// - output: `[batch]`
pub fn jensen_shannon(log_p: Tensor<2>, log_q: Tensor<2>) -> Tensor<1> {
    let batch = log_p.dims()[0];
    let half = (log_p.clone() - log_q.clone()) * 0.5;
    let tangent = half.clone().tanh();
    let size = half.clone().abs();
    let near = half.clone().clamp(-SMALL, SMALL).tanh().square().neg().log1p() * -0.5;
    let far = size.clone() + (size.clone() * -2.0).exp().log1p() - std::f64::consts::LN_2;
    let log_cosh = far.mask_where(size.lower_elem(SMALL), near);
    let terms = (log_p.exp() + log_q.exp()) * (half * tangent - log_cosh);
    terms.sum_dim(1).reshape([batch]) * 0.5
}
