//! Projected gradient descent.

use burn::tensor::Tensor;

use super::ascent::{Ascent, Steepest};
use super::base::check_parameter;
use super::draw::{Source, uniform_in_ball};
use super::rows::take;
use super::worst::Worst;
use super::{Attack, AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;
use crate::random::Purpose;

/// Projected gradient descent: [`Bim`](super::Bim) from a random start, several times.
///
/// `x_{t+1} = project(x_t + alpha * sign(grad_x J(x_t, y)))` with `x_0` uniform in the ball and clipped to \[0,1\],
/// Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, section 2.1. With
/// [`Norm::L2`] and [`Norm::L1`] a step is `alpha * g / |g|` in that norm, and the projection is the Euclidean one
/// onto the ball, then onto \[0,1\].
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | epsilon | required | finite, at least 0 |
/// | norm | L-infinity | L-infinity, L2, L1 |
/// | steps | 10 | at least 1 |
/// | step size | 2.5 epsilon / steps (section 5 of the paper) | finite, above 0 |
/// | restarts | 1 | at least 1 |
/// | random start | true | |
/// | early stop | true | |
/// | seed | 0 | any |
///
/// With ten steps the defaults are those of torchattacks (2/255 at 8/255), apart from the early stop: an image
/// stays at the first point whose logits, which come with the gradient, reach the goal, and costs no further
/// query. Turn it off for the strongest examples instead of the first ones, as for training or transfer.
///
/// A restart takes exactly `steps` gradients an image. Several restarts keep the worst case of each image: one
/// that reaches the goal before one that does not, then the largest margin; telling costs one forward pass a
/// restart. With the early stop, images that have fallen are not started again.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let image = Tensor::full([1, 1, 2, 2], 0.55, &device);
/// let attack = Pgd::new(Epsilon::unit(0.1)).with_steps(20).with_restarts(3);
/// let adversarial = attack.perturb(&victim, image, &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(adversarial), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pgd {
    epsilon: Epsilon,
    norm: Norm,
    steps: usize,
    step_size: Option<Epsilon>,
    restarts: usize,
    random_start: bool,
    early_stop: bool,
    seed: u64,
}

impl Pgd {
    /// PGD with an L-infinity budget.
    pub fn new(epsilon: Epsilon) -> Self {
        Self {
            epsilon,
            norm: Norm::Linf,
            steps: 10,
            step_size: None,
            restarts: 1,
            random_start: true,
            early_stop: true,
            seed: 0,
        }
    }

    /// The same in another norm; epsilon and the step size are then that norm over the whole image.
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// So many steps a restart.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Steps of this length at any epsilon and number of steps.
    pub fn with_step_size(mut self, step_size: Epsilon) -> Self {
        self.step_size = Some(step_size);
        self
    }

    /// So many tries, each from its own random start; without one all tries would be the same.
    pub fn with_restarts(mut self, restarts: usize) -> Self {
        self.restarts = restarts;
        self
    }

    /// From a random point of the ball, or from the image itself.
    pub fn with_random_start(mut self, random_start: bool) -> Self {
        self.random_start = random_start;
        self
    }

    /// Whether an image stays at the first point that reaches the goal.
    pub fn with_early_stop(mut self, early_stop: bool) -> Self {
        self.early_stop = early_stop;
        self
    }

    /// Random starts from another seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    fn start(&self, images: &Tensor<4>, goal: &Goal, restart: usize) -> Tensor<4> {
        if !self.random_start {
            return images.clone();
        }
        let source = Source { purpose: Purpose::Start, seed: self.seed, parts: &[restart as u64] };
        let change = source.perturbations(images, goal, |point, rng| {
            uniform_in_ball(self.norm, self.epsilon.value(), point, rng);
        });
        (images.clone() + change).clamp(0.0, 1.0)
    }
}

impl Attack for Pgd {
    fn name(&self) -> &'static str {
        "PGD"
    }

    fn norm(&self) -> Norm {
        self.norm
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

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(Self { steps: 2 * self.steps, ..*self }))
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        let step_size = self.step_size.map_or(2.5 * self.epsilon.value() / self.steps as f64, Epsilon::value);
        let ascent = Ascent {
            attack: self.name(),
            norm: self.norm,
            epsilon: self.epsilon,
            step_size,
            steps: self.steps,
        };
        check_parameter(self.restarts >= 1, "restarts", "at least 1", self.restarts)?;
        let differ = self.random_start || self.restarts == 1;
        check_parameter(differ, "restarts", "1 without a random start", self.restarts)?;
        ascent.check(victim, &images, goal)?;
        let images = images.inner();
        if self.epsilon == Epsilon::ZERO || images.dims()[0] == 0 {
            return Ok(images);
        }
        let mut rule = Steepest { early_stop: self.early_stop };
        let total = self.steps * self.restarts;
        if self.restarts == 1 {
            let start = self.start(&images, goal, 0);
            return ascent.climb(victim, &images, start, goal, &mut rule, (0, total));
        }
        let mut worst = Worst::new(images.clone());
        for restart in 0..self.restarts {
            let positions = match self.early_stop {
                true => worst.standing(),
                false => (0..images.dims()[0]).collect(),
            };
            if positions.is_empty() {
                break;
            }
            let (images, goal) = (take(&images, &positions), goal.select(&positions));
            let start = self.start(&images, &goal, restart);
            let done = restart * self.steps;
            let found = ascent.climb(victim, &images, start, &goal, &mut rule, (done, total))?;
            worst.offer(victim, &positions, found, &goal);
        }
        Ok(worst.into_images())
    }
}
