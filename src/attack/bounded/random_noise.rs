//! Random noise, the baseline that tells an attack from bad luck.

use rand::seq::index::sample;
use serde::{Deserialize, Serialize};

use crate::attack::Draws;
use crate::attack::prelude::*;
use crate::attack::steps::{judging, restarts};
use crate::pixels::{normal, uniform_in_ball};
use crate::random::Generator;

/// Random noise of a given size: what fools a classifier less than this is noise, not attack.
///
/// | noise | bound by the budget | as in |
/// | --- | --- | --- |
/// | [uniform](Self::uniform) | L-infinity: each value moves by up to so much | foolbox's `LinfAdditiveUniformNoiseAttack` |
/// | [Gaussian](Self::gaussian) | L2: a normal direction of this length | foolbox's `L2AdditiveGaussianNoiseAttack` |
/// | [salt and pepper](Self::salt_and_pepper) | L0: so many values turn black or white | foolbox's `SaltAndPepperNoiseAttack`, without its search |
///
/// The result is clipped to \[0,1\]. One try takes no query at all; several keep the worst case of each
/// image, as foolbox's repeated attacks do, for one forward pass a try until it falls.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number of at least 0 |
/// | norm | the noise's | Linf; L2; L0 |
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
#[derive(Config, Copy, Debug, PartialEq)]
pub struct RandomNoise {
    /// Which noise.
    pub kind: NoiseKind,
    /// How far each image may be changed, in the noise's norm.
    pub budget: Budget,
    /// Number of tries, the worst case of each image kept.
    #[config(default = 1)]
    pub repeats: usize,
    /// The seed of the noise.
    #[config(default = 0)]
    pub seed: u64,
}

/// The noise of [`RandomNoise`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseKind {
    /// Every value moves by a uniform amount.
    Uniform,
    /// Normal noise of a given length.
    Gaussian,
    /// Pixels that turn black or white.
    SaltAndPepper,
}

impl NoiseKind {
    /// The norm that bounds it.
    pub const fn norm(self) -> Norm {
        match self {
            Self::Uniform => Norm::Linf,
            Self::Gaussian => Norm::L2,
            Self::SaltAndPepper => Norm::L0,
        }
    }
}

impl RandomNoise {
    /// Every value moves by a uniform amount between minus and plus `size`.
    pub fn uniform(size: Epsilon) -> Self {
        Self::new(NoiseKind::Uniform, Budget::linf(size))
    }

    /// Normal noise, scaled to this L2 norm before clipping.
    pub fn gaussian(length: f64) -> Self {
        Self::new(NoiseKind::Gaussian, Budget::l2(length))
    }

    /// As many randomly chosen pixels as `values` allow (30 are ten RGB pixels) turn black or white in all
    /// channels, with equal probability.
    pub fn salt_and_pepper(values: usize) -> Self {
        Self::new(NoiseKind::SaltAndPepper, Budget::l0(values))
    }

    /// Fills one image's change.
    fn fill(&self, image: &mut [f32], rng: &mut Generator) {
        let size = self.budget.size();
        match self.kind {
            NoiseKind::Uniform => uniform_in_ball(Norm::Linf, size, image, rng),
            NoiseKind::Gaussian => {
                let scale = size / normal(image, rng);
                image.iter_mut().for_each(|v| *v = (f64::from(*v) * scale) as f32);
            }
            NoiseKind::SaltAndPepper => unreachable!("drawn by pixels"),
        }
    }

    /// Black and white pixels among those of which any channel may change.
    fn sprinkle(&self, task: &Task<'_>, draws: &Draws) -> Tensor<4> {
        let ([channels, height, width], size) = (task.shape(), self.budget.size());
        let pixels = height * width;
        let image = |row: usize| {
            let (mut image, mut rng) = (vec![0.0; channels * pixels], draws.generator(row));
            let mut free: Vec<usize> = match task.free(row) {
                Some(free) => free.iter().map(|at| at % pixels).collect(),
                None => (0..pixels).collect(),
            };
            free.sort_unstable();
            free.dedup();
            for at in sample(&mut rng, free.len(), free.len().min((size / channels as f64) as usize)) {
                // Past either end from anywhere, so that clipping makes it black or white.
                let change = if rng.random() { 2.0 } else { -2.0 };
                (0..channels).for_each(|channel| image[channel * pixels + free[at]] = change);
            }
            image
        };
        batch((0..task.len()).flat_map(image).collect(), &task.images())
    }
}

impl Attack for RandomNoise {
    /// Access to nothing, also where repeats are judged: it stays the baseline.
    fn profile(&self) -> Profile {
        let name = match self.kind {
            NoiseKind::Uniform => "Uniform noise",
            NoiseKind::Gaussian => "Gaussian noise",
            NoiseKind::SaltAndPepper => "Salt-and-pepper noise",
        };
        Profile::within(name, self.budget, Access::Nothing, self.repeats, judging(self.repeats))
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        vec![
            norm_among(self.budget.norm(), &[self.kind.norm()]),
            Parameter::at_least("repeats", self.repeats, 1),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        restarts(&task, self.repeats, false, |task| {
            task.step()?;
            let draws = task.draws_of_run(Purpose::ATTACK_NOISE, self.seed);
            let change = match self.kind {
                NoiseKind::SaltAndPepper => self.sprinkle(task, &draws),
                _ => draws.perturbations(&task.images(), |image, rng| self.fill(image, rng)),
            };
            Ok((task.images() + task.restrict(change)).clamp(0.0, 1.0))
        })
    }
}
