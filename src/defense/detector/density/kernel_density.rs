//! Kernel density of the last hidden features.

use burn::tensor::{Tensor, TensorData};
use serde::Serialize;

use super::gathered::Gathered;
use crate::classifier::{FrozenFeatures, pick, predictions};
use crate::data::LabeledImages;
use crate::defense::detector::base::Detector;
use crate::defense::detector::error::DetectorError;
use crate::parameter::Parameter;
use crate::rows::values;

const NAME: &str = "kernel density";

/// How unlikely an image's features are among the training features of the class that the network predicts,
/// by a Gaussian kernel density: minus its logarithm.
///
/// `-ln (1/n) sum_i exp(-|phi(x) - phi(x_i)|^2 / (2 h^2))` over the n training images of the predicted class,
/// Feinman, Curtin, Shintre & Gardner, "Detecting Adversarial Samples from Artifacts", arXiv:1703.00410,
/// section 5.1. The constant `(d/2) ln(2 pi h^2)` of the density, which moves no ranking and no threshold, is
/// left to [`log_densities`](Self::log_densities). The paper's bandwidths (3.79 MNIST, 0.26 CIFAR-10, 1.00
/// SVHN) are for its own features: choose h by the log-densities of validation images. The score jumps where
/// the predicted class changes.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | bandwidth h | required | a finite number above 0 |
#[derive(Clone, Debug, Serialize)]
pub struct KernelDensity {
    bandwidth: f64,
    images: usize,
    dimension: usize,
    #[serde(skip)]
    network: FrozenFeatures,
    /// Of each class: its mean, and the features less the mean, where squared distances cancel less.
    #[serde(skip)]
    classes: Vec<(Tensor<2>, Tensor<2>)>,
}

impl KernelDensity {
    /// From the features of these training images under their true classes.
    ///
    /// # Errors
    ///
    /// [`DetectorError`] on a bandwidth out of its range, a class without images, features that are NaN or
    /// infinite, or an image that cannot be read.
    pub fn fit(
        network: FrozenFeatures,
        bandwidth: f64,
        training: &dyn LabeledImages,
    ) -> Result<Self, DetectorError> {
        parameter(bandwidth).check()?;
        let gathered = Gathered::new(NAME, &network, training)?;
        let (dimension, device) = (gathered.dimension, network.device().clone());
        let table = |rows: Vec<f32>| {
            let count = rows.len() / dimension;
            Tensor::<2>::from_data(TensorData::new(rows, [count, dimension]), &device)
        };
        let class = |class| {
            let mean: Vec<f32> = gathered.mean(class).into_iter().map(|value| value as f32).collect();
            let off = |row: &[f32]| row.iter().zip(&mean).map(|(value, mean)| value - mean).collect();
            let rows: Vec<Vec<f32>> = gathered.of(class).map(off).collect();
            (table(mean), table(rows.concat()))
        };
        let classes = (0..gathered.classes).map(class).collect();
        Ok(Self { bandwidth, images: gathered.rows.len(), dimension, network, classes })
    }

    /// The same features with another bandwidth.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Parameter`] on a bandwidth out of its range.
    pub fn with_bandwidth(self, bandwidth: f64) -> Result<Self, DetectorError> {
        parameter(bandwidth).check()?;
        Ok(Self { bandwidth, ..self })
    }

    /// Number of training images.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Number of features.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The logarithm of the density at each image's features under the predicted class: scikit-learn's
    /// `KernelDensity(bandwidth=h).fit(class).score_samples`.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`
    pub fn log_densities(&self, images: Tensor<4>) -> Vec<f64> {
        let constant =
            self.dimension as f64 / 2.0 * (2.0 * std::f64::consts::PI * self.bandwidth.powi(2)).ln();
        values(self.score(images.inner())).into_iter().map(|score| -f64::from(score) - constant).collect()
    }

    /// Under one class, without the constant, as `[batch, 1]`.
    fn log_density(&self, features: &Tensor<2>, (mean, rows): &(Tensor<2>, Tensor<2>)) -> Tensor<2> {
        let off = features.clone() - mean.clone();
        let own = off.clone().square().sum_dim(1);
        let theirs = rows.clone().square().sum_dim(1).transpose();
        let squares = (own + theirs - off.matmul(rows.clone().transpose()) * 2.0).clamp_min(0.0);
        let exponents = squares * (-0.5 / self.bandwidth.powi(2));
        let largest = exponents.clone().detach().max_dim(1);
        let sum = (exponents - largest.clone()).exp().sum_dim(1);
        sum.log() + largest - (rows.dims()[0] as f64).ln()
    }
}

impl Detector for KernelDensity {
    fn name(&self) -> String {
        format!("{NAME} (h = {})", self.bandwidth)
    }

    fn score(&self, images: Tensor<4>) -> Tensor<1> {
        let features = self.network.features(images);
        let classes = predictions(self.network.head(features.clone().detach()));
        let classes: Vec<i64> = classes.into_iter().map(|class| class as i64).collect();
        let densities = self.classes.iter().map(|class| self.log_density(&features, class)).collect();
        pick(Tensor::cat(densities, 1), &classes).neg()
    }
}

fn parameter(bandwidth: f64) -> Parameter {
    Parameter::above_zero("bandwidth", bandwidth)
}
