//! Gaussian noise on the training images, the paper's defense.

use burn::config::Config;
use burn::tensor::{Tensor, TensorData};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::base::{Loss, Objective};
use super::cross_entropy::cross_entropy;
use super::step::Step;
use super::trainee::Trainee;
use crate::data::Batch;
use crate::defense::DefenseError;
use crate::parameter::{self, Parameter};
use crate::random::{Purpose, generator};

/// Adds normal noise to every value of every training image, fresh in each epoch: the paper's defense
/// (section 2.4), made after scaling to \[0,1\].
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | sigma | required; the paper leaves it open | finite, at least 0, on the \[0,1\] scale |
/// | clip | true | whether the result is clipped to \[0,1\] |
/// | seed | 0 | any |
///
/// ```
/// use histoguard::defense::GaussianNoise;
///
/// let device = histoguard::prelude::Device::default();
/// let image = histoguard::prelude::Tensor::full([1, 3, 32, 32], 0.5, &device);
/// let noisy = GaussianNoise::new(0.1).noisy(image, &[7], 1)?;
/// let deviation: f32 = (noisy - 0.5).square().mean().sqrt().into_scalar();
/// assert!((deviation - 0.1).abs() < 0.01);
/// # Ok::<(), histoguard::defense::DefenseError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct GaussianNoise {
    /// Standard deviation on the \[0,1\] scale.
    pub sigma: f64,
    /// Whether the noisy image is clipped to \[0,1\]. A network to be smoothed is trained without.
    #[config(default = true)]
    pub clip: bool,
    /// Seed of the noise.
    #[config(default = 0)]
    pub seed: u64,
}

impl GaussianNoise {
    /// Noisy copies of `images`; the noise of each depends on the seed, `epoch` and its index alone.
    ///
    /// # Shapes
    ///
    /// - `images`, output: `[batch, channels, height, width]`
    /// - `indices`: one an image
    ///
    /// # Errors
    ///
    /// [`DefenseError::Parameter`] if sigma is negative or not finite.
    ///
    /// # Panics
    ///
    /// Panics if there is not one index an image.
    pub fn noisy(&self, images: Tensor<4>, indices: &[u64], epoch: usize) -> Result<Tensor<4>, DefenseError> {
        parameter::check(self.parameters())?;
        let dims = images.dims();
        assert_eq!(indices.len(), dims[0], "one index an image");
        let device = images.device();
        let size = dims[1..].iter().product::<usize>();
        let mut noise = vec![0f32; dims[0] * size];
        noise.par_chunks_mut(size.max(1)).zip(indices).for_each(|(noise, &index)| {
            fill(
                noise,
                self.sigma,
                &mut generator(Purpose::TRAINING_NOISE, self.seed, &[epoch as u64, index]),
            );
        });
        let noisy = images + Tensor::from_data(TensorData::new(noise, dims), &device);
        Ok(if self.clip { noisy.clamp(0.0, 1.0) } else { noisy })
    }
}

fn fill(noise: &mut [f32], sigma: f64, rng: &mut impl Rng) {
    for value in noise {
        let standard: f32 = StandardNormal.sample(rng);
        *value = standard * sigma as f32;
    }
}

impl Objective for GaussianNoise {
    fn name(&self) -> String {
        "Gaussian noise".into()
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter::from_zero("sigma", self.sigma)]
    }

    fn craft(&self, step: &Step<'_>) -> Result<Tensor<4>, DefenseError> {
        let batch = step.batch();
        self.noisy(batch.images.clone(), &batch.indices, batch.epoch)
    }

    fn loss(&self, network: &dyn Trainee, batch: &Batch, crafted: Tensor<4>) -> Loss {
        cross_entropy(network, crafted, batch.labels.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn values(images: Tensor<4>) -> Vec<f32> {
        images.into_data().try_into_vec().unwrap()
    }

    fn grey(batch: usize) -> Tensor<4> {
        Tensor::full([batch, 3, 16, 16], 0.5, &Device::default())
    }

    #[test]
    fn noise_of_an_image_does_not_depend_on_its_batch() {
        let noise = GaussianNoise::new(0.1).with_seed(3);
        let together = values(noise.noisy(grey(3), &[5, 6, 7], 2).unwrap());
        let alone = values(noise.noisy(grey(1), &[6], 2).unwrap());
        assert_eq!(together[768..1536], alone);
        assert_ne!(alone, values(noise.noisy(grey(1), &[6], 3).unwrap()), "fresh in each epoch");
        assert_ne!(alone, values(noise.noisy(grey(1), &[8], 2).unwrap()), "another image");
        assert_ne!(alone, values(noise.with_seed(4).noisy(grey(1), &[6], 2).unwrap()), "another seed");
    }

    #[test]
    fn moments_are_those_of_the_normal_distribution() {
        let sigma = 0.05;
        let noise = GaussianNoise::new(sigma).with_clip(false);
        let drawn = values(noise.noisy(grey(64), &(0..64).collect::<Vec<_>>(), 1).unwrap() - 0.5);
        let moment =
            |k: i32| drawn.iter().map(|&v| (f64::from(v) / sigma).powi(k)).sum::<f64>() / drawn.len() as f64;
        // 49,152 draws: five standard errors of the mean, variance (2), skewness (15) and fourth moment (96).
        let bound = |variance: f64| 5.0 * (variance / drawn.len() as f64).sqrt();
        assert!(moment(1).abs() < bound(1.0));
        assert!((moment(2) - 1.0).abs() < bound(2.0));
        assert!(moment(3).abs() < bound(15.0));
        assert!((moment(4) - 3.0).abs() < bound(96.0));
    }

    #[test]
    fn clipping_keeps_the_unit_range() {
        let noisy = values(GaussianNoise::new(2.0).noisy(grey(1), &[0], 1).unwrap());
        assert!(noisy.iter().all(|v| (0.0..=1.0).contains(v)));
        let free = values(GaussianNoise::new(2.0).with_clip(false).noisy(grey(1), &[0], 1).unwrap());
        assert!(free.iter().any(|v| *v < 0.0) && free.iter().any(|v| *v > 1.0));
        for (clipped, free) in noisy.iter().zip(free) {
            assert_eq!(*clipped, free.clamp(0.0, 1.0));
        }
    }

    #[test]
    fn refuses_sigmas_outside_the_documented_range() {
        for sigma in [-0.1, f64::NAN, f64::INFINITY] {
            let error = GaussianNoise::new(sigma).noisy(grey(1), &[0], 1).unwrap_err();
            assert!(
                matches!(&error, DefenseError::Parameter(error) if error.parameter == "sigma"),
                "{sigma}"
            );
        }
        assert_eq!(values(GaussianNoise::new(0.0).noisy(grey(1), &[0], 1).unwrap()), values(grey(1)));
    }
}
