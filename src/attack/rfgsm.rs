//! FGSM from a random start.

use burn::tensor::Tensor;
use rand::RngExt;

use super::ascent::{Ascent, Steepest};
use super::base::check_parameter;
use super::draw::Source;
use super::{Attack, AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;
use crate::random::Purpose;

/// R+FGSM: a random step before that of [`Fgsm`](super::Fgsm), out of the flat spot that single-step training
/// leaves around an image. L-infinity.
///
/// `x' = x + alpha * sign(N(0, I))`, then `x' + (epsilon - alpha) * sign(grad_x' J(x', y))`, Tramèr et al.,
/// "Ensemble Adversarial Training: Attacks and Defenses", ICLR 2018, equation 7. Each point is clipped to the ball
/// and to \[0,1\].
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | epsilon | required | finite, at least 0 |
/// | start size (alpha) | epsilon / 2 | 0 to epsilon |
/// | steps | 1 | at least 1 |
/// | step size | epsilon minus the start size | finite, above 0 |
/// | seed | 0 | any |
///
/// The defaults are the paper's. torchattacks' `RFGSM` takes ten steps of 2/255 from a start of 2/255.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let attack = RFgsm::new(Epsilon::unit(0.2));
/// let result = attack.perturb(&victim, Tensor::full([1, 1, 8, 8], 0.5, &device), &Goal::untargeted([1]))?;
/// // Half the budget in a random direction, the other half towards dark: 0.3 or 0.5.
/// assert!((result.clone().min().into_scalar::<f32>() - 0.3).abs() < 1e-6);
/// assert!((result.max().into_scalar::<f32>() - 0.5).abs() < 1e-6);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RFgsm {
    epsilon: Epsilon,
    start_size: Option<Epsilon>,
    steps: usize,
    step_size: Option<Epsilon>,
    seed: u64,
}

impl RFgsm {
    /// R+FGSM with this L-infinity budget.
    pub fn new(epsilon: Epsilon) -> Self {
        Self { epsilon, start_size: None, steps: 1, step_size: None, seed: 0 }
    }

    /// A random step of this size at any epsilon.
    pub fn with_start_size(mut self, start_size: Epsilon) -> Self {
        self.start_size = Some(start_size);
        self
    }

    /// So many steps after the random one.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Steps of this size at any epsilon.
    pub fn with_step_size(mut self, step_size: Epsilon) -> Self {
        self.step_size = Some(step_size);
        self
    }

    /// Random steps from another seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

impl Attack for RFgsm {
    fn name(&self) -> &'static str {
        "R+FGSM"
    }

    fn norm(&self) -> Norm {
        Norm::Linf
    }

    fn epsilon(&self) -> Option<Epsilon> {
        Some(self.epsilon)
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(Self { epsilon, ..*self })
    }

    fn steps(&self) -> Option<usize> {
        Some(self.steps)
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        let epsilon = self.epsilon.value();
        let alpha = self.start_size.map_or(epsilon / 2.0, Epsilon::value);
        let ascent = Ascent {
            attack: self.name(),
            norm: Norm::Linf,
            epsilon: self.epsilon,
            step_size: self.step_size.map_or(epsilon - alpha, Epsilon::value),
            steps: self.steps,
        };
        let inside = !self.epsilon.is_valid() || (0.0..=epsilon).contains(&alpha);
        check_parameter(inside, "start size", "0 to epsilon", alpha)?;
        ascent.check(victim, &images, goal)?;
        let images = images.inner();
        if self.epsilon == Epsilon::ZERO {
            return Ok(images);
        }
        let source = Source { purpose: Purpose::Start, seed: self.seed, parts: &[] };
        let signs = source.perturbations(&images, goal, |point, rng| {
            point.iter_mut().for_each(|v| *v = if rng.random() { 1.0 } else { -1.0 });
        });
        let start = (images.clone() + signs * alpha).clamp(0.0, 1.0);
        let mut rule = Steepest { early_stop: false };
        ascent.climb(victim, &images, start, goal, &mut rule, (0, self.steps))
    }
}
