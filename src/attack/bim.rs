//! The basic iterative method.

use burn::tensor::Tensor;

use super::ascent::{Ascent, Steepest};
use super::{Attack, AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

/// The basic iterative method (I-FGSM): small steps of [`Fgsm`](super::Fgsm), each clipped to the ball.
///
/// `x_{t+1} = clip_{x,epsilon}(x_t + alpha * sign(grad_x J(x_t, y)))` from `x_0 = x`, Kurakin, Goodfellow &
/// Bengio, "Adversarial Examples in the Physical World", ICLR workshop 2017 (arXiv 1607.02533), section 2.2. With
/// [`Norm::L2`] and [`Norm::L1`] a step is `alpha * g / |g|` in that norm, and the projection is the Euclidean one
/// onto the ball, then onto \[0,1\]. Exactly `steps` gradients, no other query.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | epsilon | required | finite, at least 0 |
/// | norm | L-infinity | L-infinity, L2, L1 |
/// | steps | 10 | at least 1 |
/// | step size | epsilon / 5 | finite, above 0 |
///
/// The defaults are those of foolbox's `LinfBasicIterativeAttack`; the paper's own are a step of 1/255 and
/// `min(epsilon + 4, 1.25 epsilon)` steps, epsilon in grey levels.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let attack = Bim::new(Epsilon::unit(0.2)).with_steps(3).with_step_size(Epsilon::unit(0.05));
/// let darker = attack.perturb(&victim, Tensor::full([1, 1, 2, 2], 0.5, &device), &Goal::untargeted([1]))?;
/// assert!((darker.mean().into_scalar::<f32>() - 0.35).abs() < 1e-6);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bim {
    epsilon: Epsilon,
    norm: Norm,
    steps: usize,
    step_size: Option<Epsilon>,
}

impl Bim {
    /// BIM with an L-infinity budget.
    pub fn new(epsilon: Epsilon) -> Self {
        Self { epsilon, norm: Norm::Linf, steps: 10, step_size: None }
    }

    /// The same in another norm; epsilon and the step size are then that norm over the whole image.
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// So many steps.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Steps of this length at any epsilon.
    pub fn with_step_size(mut self, step_size: Epsilon) -> Self {
        self.step_size = Some(step_size);
        self
    }
}

impl Attack for Bim {
    fn name(&self) -> &'static str {
        "BIM"
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
        let ascent = Ascent {
            attack: self.name(),
            norm: self.norm,
            epsilon: self.epsilon,
            step_size: self.step_size.map_or(self.epsilon.value() / 5.0, Epsilon::value),
            steps: self.steps,
        };
        ascent.check(victim, &images, goal)?;
        let images = images.inner();
        if self.epsilon == Epsilon::ZERO {
            return Ok(images);
        }
        let mut rule = Steepest { early_stop: false };
        ascent.climb(victim, &images, images.clone(), goal, &mut rule, (0, self.steps))
    }
}
