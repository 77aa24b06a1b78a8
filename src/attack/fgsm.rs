//! The fast gradient sign method.

use burn::tensor::Tensor;

use super::base::{check, finite_or_zero, step};
use super::{Attack, AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

/// The fast gradient sign method: one step of the whole budget up the cross-entropy of the true class.
///
/// `x' = clip(x + epsilon * sign(grad_x J(x, y)), 0, 1)`, Goodfellow, Shlens & Szegedy, "Explaining and
/// Harnessing Adversarial Examples", ICLR 2015, equation in section 4; targeted, a step down the target's
/// cross-entropy. With [`Norm::L2`] and [`Norm::L1`] the step is `epsilon * g / |g|` in that norm (foolbox's
/// `L2FastGradientAttack` and `L1FastGradientAttack`).
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | epsilon | required | finite, at least 0 |
/// | norm | L-infinity | L-infinity, L2, L1 |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let attack = Fgsm::new(Epsilon::pixels(51.0));
/// // Away from "bright": every pixel loses 51/255 = 0.2.
/// let darker = attack.perturb(&victim, Tensor::full([1, 1, 2, 2], 0.5, &device), &Goal::untargeted([1]))?;
/// assert!((darker.mean().into_scalar::<f32>() - 0.3).abs() < 1e-6);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fgsm {
    epsilon: Epsilon,
    norm: Norm,
}

impl Fgsm {
    /// FGSM with an L-infinity budget.
    pub fn new(epsilon: Epsilon) -> Self {
        Self { epsilon, norm: Norm::Linf }
    }

    /// The same in another norm; epsilon is then that norm over the whole image.
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// One gradient, and a step of every length along it.
    fn along(
        &self,
        victim: &Frozen,
        images: &Tensor<4>,
        goal: &Goal,
        epsilons: &[Epsilon],
    ) -> Result<Vec<Tensor<4>>, AttackError> {
        for &epsilon in epsilons {
            check(victim, images, goal, epsilon)?;
        }
        let images = images.clone().inner();
        if epsilons.iter().all(|&epsilon| epsilon == Epsilon::ZERO) || images.dims()[0] == 0 {
            return Ok(vec![images; epsilons.len()]);
        }
        step(victim, self.name(), 0, 1)?;
        let gradient = victim.input_gradient(images.clone(), |logits| goal.objective(logits)).gradient;
        let direction = self.norm.unit_step(finite_or_zero(gradient));
        let moved = |epsilon: &Epsilon| images.clone() + direction.clone() * epsilon.value();
        Ok(epsilons.iter().map(|epsilon| moved(epsilon).clamp(0.0, 1.0)).collect())
    }
}

impl Attack for Fgsm {
    fn name(&self) -> &'static str {
        "FGSM"
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
        Some(1)
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        Ok(self.along(victim, &images, goal, &[self.epsilon])?.remove(0))
    }

    fn sweep(
        &self,
        victim: &Frozen,
        images: &Tensor<4>,
        goal: &Goal,
        epsilons: &[Epsilon],
    ) -> Option<Result<Vec<Tensor<4>>, AttackError>> {
        Some(self.along(victim, images, goal, epsilons))
    }
}
