//! Random noise, the baseline that tells an attack from bad luck.

use burn::tensor::Tensor;
use rand::RngExt;
use rand::seq::index::sample;

use super::base::{check, check_parameter, step};
use super::draw::{Source, normal, uniform_in_ball};
use super::rows::take;
use super::worst::Worst;
use super::{Access, Attack, AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;
use crate::random::Purpose;

/// Random noise of a given size: what fools a classifier less than this is noise, not attack.
///
/// | noise | bound by epsilon | as in |
/// | --- | --- | --- |
/// | [uniform](Self::uniform) | L-infinity: each value moves by up to epsilon | foolbox's `LinfAdditiveUniformNoiseAttack` |
/// | [Gaussian](Self::gaussian) | L2: a normal direction of this length | foolbox's `L2AdditiveGaussianNoiseAttack` |
/// | [salt and pepper](Self::salt_and_pepper) | L0: so many values turn black or white | foolbox's `SaltAndPepperNoiseAttack`, without its search |
///
/// The result is clipped to \[0,1\]. One try takes no query at all; several keep the worst case of each image, as
/// foolbox's repeated attacks do, for one forward pass a try until it falls.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | epsilon | required | finite, at least 0 |
/// | repeats | 1 | at least 1 |
/// | seed | 0 | any |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| x.mean_dims(&[2, 3]).reshape([-1, 2]));
/// let images = Tensor::full([1, 2, 8, 8], 0.5, &device);
/// let noise = RandomNoise::uniform(Epsilon::pixels(8.0));
/// let noisy = noise.perturb(&victim, images.clone(), &Goal::untargeted([0]))?;
/// let size: f32 = Norm::Linf.measure(noisy - images).into_scalar();
/// assert!(size > 0.025 && size <= 8.0 / 255.0);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomNoise {
    kind: Kind,
    epsilon: Epsilon,
    repeats: usize,
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Uniform,
    Gaussian,
    SaltAndPepper,
}

impl RandomNoise {
    /// Every value moves by a uniform amount between minus and plus epsilon.
    pub fn uniform(epsilon: Epsilon) -> Self {
        Self { kind: Kind::Uniform, epsilon, repeats: 1, seed: 0 }
    }

    /// Normal noise, scaled to the L2 norm epsilon before clipping.
    pub fn gaussian(epsilon: Epsilon) -> Self {
        Self { kind: Kind::Gaussian, ..Self::uniform(epsilon) }
    }

    /// As many randomly chosen pixels as epsilon values allow (`Epsilon::unit(30.0)` is ten RGB pixels) turn black
    /// or white in all channels, with equal probability.
    pub fn salt_and_pepper(epsilon: Epsilon) -> Self {
        Self { kind: Kind::SaltAndPepper, ..Self::uniform(epsilon) }
    }

    /// So many tries, the worst case of each image kept.
    pub fn with_repeats(mut self, repeats: usize) -> Self {
        self.repeats = repeats;
        self
    }

    /// Noise from another seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    fn noisy(&self, images: &Tensor<4>, goal: &Goal, repeat: usize) -> Tensor<4> {
        let [_, channels, height, width] = images.dims();
        let epsilon = self.epsilon.value();
        let source = Source { purpose: Purpose::AttackNoise, seed: self.seed, parts: &[repeat as u64] };
        let change = source.perturbations(images, goal, |image, rng| match self.kind {
            Kind::Uniform => uniform_in_ball(Norm::Linf, epsilon, image, rng),
            Kind::Gaussian => {
                let scale = epsilon / normal(image, rng);
                image.iter_mut().for_each(|v| *v = (f64::from(*v) * scale) as f32);
            }
            Kind::SaltAndPepper => {
                let pixels = height * width;
                for pixel in sample(rng, pixels, pixels.min((epsilon / channels as f64) as usize)) {
                    // Past either end from anywhere, so that clipping makes it black or white.
                    let change = if rng.random() { 2.0 } else { -2.0 };
                    (0..channels).for_each(|channel| image[channel * pixels + pixel] = change);
                }
            }
        });
        (images.clone() + change).clamp(0.0, 1.0)
    }
}

impl Attack for RandomNoise {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Uniform => "Uniform noise",
            Kind::Gaussian => "Gaussian noise",
            Kind::SaltAndPepper => "Salt-and-pepper noise",
        }
    }

    fn norm(&self) -> Norm {
        match self.kind {
            Kind::Uniform => Norm::Linf,
            Kind::Gaussian => Norm::L2,
            Kind::SaltAndPepper => Norm::L0,
        }
    }

    fn epsilon(&self) -> Option<Epsilon> {
        Some(self.epsilon)
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(Self { epsilon, ..*self })
    }

    fn access(&self) -> Access {
        Access::Nothing
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        check_parameter(self.repeats >= 1, "repeats", "at least 1", self.repeats)?;
        check(victim, &images, goal, self.epsilon)?;
        let images = images.inner();
        if self.epsilon == Epsilon::ZERO || images.shape().num_elements() == 0 {
            return Ok(images);
        }
        if self.repeats == 1 {
            step(victim, self.name(), 0, 1)?;
            return Ok(self.noisy(&images, goal, 0));
        }
        let mut worst = Worst::new(images.clone());
        for repeat in 0..self.repeats {
            let standing = worst.standing();
            if standing.is_empty() {
                break;
            }
            step(victim, self.name(), repeat, self.repeats)?;
            let goal = goal.select(&standing);
            let noisy = self.noisy(&take(&images, &standing), &goal, repeat);
            worst.offer(victim, &standing, noisy, &goal);
        }
        Ok(worst.into_images())
    }
}
