//! The basic iterative method.

use crate::attack::prelude::*;
use crate::attack::steps::{Ascent, Steepest};

/// The basic iterative method (I-FGSM): small steps of [`Fgsm`](super::Fgsm), each clipped to the ball.
///
/// `x_{t+1} = clip_{x,epsilon}(x_t + alpha * sign(grad_x J(x_t, y)))` from `x_0 = x`, Kurakin, Goodfellow &
/// Bengio, "Adversarial Examples in the Physical World", ICLR workshop 2017 (arXiv 1607.02533), section 2.2. In
/// L2 and L1 a step is `alpha * g / |g|` in that norm, and the projection is the Euclidean one
/// onto the ball, then onto \[0,1\]. Exactly `steps` gradients, no other query.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number of at least 0 |
/// | norm | the budget's | Linf, L2 or L1 |
/// | steps | 10 | at least 1 |
/// | step size | a fifth of the budget | a finite number above 0 |
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
/// let attack = Bim::new(Budget::linf(Epsilon::unit(0.2))).with_steps(3).with_step_size(Some(Epsilon::unit(0.05)));
/// let darker = attack.perturb(&victim, Tensor::full([1, 1, 2, 2], 0.5, &device), &Goal::untargeted([1]))?;
/// assert!((darker.mean().into_scalar::<f32>() - 0.35).abs() < 1e-6);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Bim {
    /// How far each image may be changed.
    pub budget: Budget,
    /// Number of steps.
    #[config(default = 10)]
    pub steps: usize,
    /// The length of a step in the budget's norm, at any budget; a fifth of the budget without one.
    pub step_size: Option<Epsilon>,
}

impl Bim {
    fn ascent(&self) -> Ascent {
        Ascent::new(self.budget, self.steps, self.step_size, self.budget.size() / 5.0)
    }
}

impl Attack for Bim {
    fn profile(&self) -> Profile {
        Profile::within("BIM", self.budget, Access::Gradients, self.steps, Queries::gradients(self.steps))
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        self.ascent().parameters(&[Norm::Linf, Norm::L2, Norm::L1])
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..*self })
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(self.with_steps(2 * self.steps)))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        self.ascent().climb(&task, task.images(), &mut Steepest { early_stop: false })
    }
}
