//! Mahalanobis distance of the features to the nearest class.

use burn::tensor::{Tensor, TensorData};
use nalgebra::{Cholesky, DMatrix};
use serde::Serialize;

use super::gathered::Gathered;
use super::ledoit_wolf::ledoit_wolf;
use crate::classifier::FrozenFeatures;
use crate::data::LabeledImages;
use crate::defense::detector::base::Detector;
use crate::defense::detector::error::DetectorError;
use crate::parameter::Parameter;

const NAME: &str = "Mahalanobis distance";

/// How far an image's features are from those of the nearest class, in units of their spread:
/// `min_c (phi(x) - mu_c)^T Sigma^-1 (phi(x) - mu_c)`, with one covariance tied over the classes.
///
/// Lee, Lee, Lee & Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and
/// Adversarial Attacks", NeurIPS 2018, equations 1 and 2, with the sign changed and without their input step
/// and their regression over layers, which is trained on attacks. With fewer images than features, as for the
/// 1,024 of a DenseNet-121 from a few hundred images, the empirical covariance has no inverse: it is shrunk,
/// by default as [`ledoit_wolf`] estimates.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | shrinkage | Ledoit & Wolf's | a number from 0 to 1; above 0 unless the covariance has an inverse |
#[derive(Clone, Debug, Serialize)]
pub struct Mahalanobis {
    shrinkage: f64,
    images: usize,
    dimension: usize,
    #[serde(skip)]
    network: FrozenFeatures,
    /// The mean of the class means, taken away first, where the features lose fewer digits.
    #[serde(skip)]
    origin: Tensor<2>,
    /// `[dimension, dimension]`; features times this have a covariance of one.
    #[serde(skip)]
    whitening: Tensor<2>,
    /// `[1, classes, dimension]`, after both.
    #[serde(skip)]
    means: Tensor<3>,
}

impl Mahalanobis {
    /// From the features of these training images under their true classes.
    ///
    /// # Errors
    ///
    /// [`DetectorError`] on a shrinkage out of its range, a class without images, features that are NaN or
    /// infinite, an image that cannot be read, or a covariance without an inverse.
    pub fn fit(
        network: FrozenFeatures,
        shrinkage: Option<f64>,
        training: &dyn LabeledImages,
    ) -> Result<Self, DetectorError> {
        Parameter::within("shrinkage", shrinkage.unwrap_or(0.0), 0.0..=1.0).check()?;
        let gathered = Gathered::new(NAME, &network, training)?;
        let (dimension, images, classes) = (gathered.dimension, gathered.rows.len(), gathered.classes);
        let means: Vec<Vec<f64>> = (0..classes).map(|class| gathered.mean(class)).collect();
        let off = |(row, &label): (&Vec<f32>, &usize)| -> Vec<f64> {
            row.iter().zip(&means[label]).map(|(value, mean)| f64::from(*value) - mean).collect()
        };
        let centered: Vec<f64> = gathered.rows.iter().zip(&gathered.labels).flat_map(off).collect();
        let shrunk = ledoit_wolf(&centered, dimension, shrinkage);
        let covariance = DMatrix::from_vec(dimension, dimension, shrunk.covariance);
        let singular = || DetectorError::Fit {
            detector: NAME,
            expected: "a covariance with an inverse (more images, or more shrinkage)".into(),
            found: format!(
                "none from {images} images with {dimension} features at a shrinkage of {}",
                shrunk.shrinkage
            ),
        };
        let factor = Cholesky::new(covariance).ok_or_else(singular)?;
        let identity = DMatrix::identity(dimension, dimension);
        let whitening = factor.l_dirty().solve_lower_triangular(&identity).ok_or_else(singular)?.transpose();
        if whitening.iter().any(|value| !value.is_finite()) {
            return Err(singular());
        }
        let origin = DMatrix::from_fn(1, dimension, |_, i| means.iter().map(|mean| mean[i]).sum::<f64>())
            / classes as f64;
        let off = DMatrix::from_fn(classes, dimension, |class, i| means[class][i] - origin[i]);
        let device = network.device().clone();
        let table = |matrix: &DMatrix<f64>| {
            let rows: Vec<f32> = matrix.transpose().iter().map(|&value| value as f32).collect();
            Tensor::<2>::from_data(TensorData::new(rows, [matrix.nrows(), matrix.ncols()]), &device)
        };
        let (means, origin) = (table(&(off * &whitening)).unsqueeze_dim(0), table(&origin));
        let (shrinkage, whitening) = (shrunk.shrinkage, table(&whitening));
        Ok(Self { shrinkage, images, dimension, network, origin, whitening, means })
    }

    /// Number of training images.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Number of features.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// How far the covariance was shrunk, from 0 to 1.
    pub fn shrinkage(&self) -> f64 {
        self.shrinkage
    }
}

impl Detector for Mahalanobis {
    fn name(&self) -> String {
        format!("{NAME} ({} features of {} images)", self.dimension, self.images)
    }

    fn score(&self, images: Tensor<4>) -> Tensor<1> {
        let features = self.network.features(images) - self.origin.clone();
        let white: Tensor<3> = features.matmul(self.whitening.clone()).unsqueeze_dim(1);
        let [batch, ..] = white.dims();
        let squares: Tensor<3> = (white - self.means.clone()).square().sum_dim(2);
        squares.min_dim(1).reshape([batch])
    }
}
