//! The fast gradient sign method.

use crate::attack::prelude::*;

/// The fast gradient sign method: one step of the whole budget up the cross-entropy of the true class.
///
/// `x' = clip(x + epsilon * sign(grad_x J(x, y)), 0, 1)`, Goodfellow, Shlens & Szegedy, "Explaining and
/// Harnessing Adversarial Examples", ICLR 2015, equation in section 4; targeted, a step down the target's
/// cross-entropy. In L2 and L1 the step is `epsilon * g / |g|` in that norm (foolbox's `L2FastGradientAttack` and
/// `L1FastGradientAttack`).
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number of at least 0 |
/// | norm | the budget's | Linf, L2 or L1 |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let attack = Fgsm::new(Budget::pixels(51.0));
/// // Away from "bright": every pixel loses 51/255 = 0.2.
/// let darker = attack.perturb(&victim, Tensor::full([1, 1, 2, 2], 0.5, &device), &Goal::untargeted([1]))?;
/// assert!((darker.mean().into_scalar::<f32>() - 0.3).abs() < 1e-6);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Fgsm {
    /// How far each image may be changed.
    pub budget: Budget,
}

impl Attack for Fgsm {
    fn profile(&self) -> Profile {
        Profile::within("FGSM", self.budget, Access::Gradients, 1, Queries::gradients(1))
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        vec![norm_among(self.budget.norm(), &[Norm::Linf, Norm::L2, Norm::L1])]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Ok(along(&task, &[self.budget])?.remove(0))
    }

    fn craft_each(&self, task: &Task<'_>, budgets: &[Budget]) -> Result<Option<Vec<Tensor<4>>>, AttackError> {
        along(task, budgets).map(Some)
    }
}

/// One gradient, and a step of every length along it; all budgets in one norm.
fn along(task: &Task<'_>, budgets: &[Budget]) -> Result<Vec<Tensor<4>>, AttackError> {
    task.step()?;
    let images = task.images();
    let gradient = task.ascent(&images).gradient;
    let direction = budgets[0].norm().unit_step(gradient);
    let moved = |budget: &Budget| (images.clone() + direction.clone() * budget.size()).clamp(0.0, 1.0);
    Ok(budgets.iter().map(moved).collect())
}
