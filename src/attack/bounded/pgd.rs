//! Projected gradient descent.

use crate::attack::prelude::*;
use crate::attack::steps::{Ascent, Steepest, judging, random_start, restart_parameters, restarts};

/// Projected gradient descent: [`Bim`](super::Bim) from a random start, several times.
///
/// `x_{t+1} = project(x_t + alpha * sign(grad_x J(x_t, y)))` with `x_0` uniform in the ball and clipped to \[0,1\],
/// Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, section 2.1. In
/// L2 and L1 a step is `alpha * g / |g|` in that norm, and the projection is the Euclidean one
/// onto the ball, then onto \[0,1\].
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number of at least 0 |
/// | norm | the budget's | Linf, L2 or L1 |
/// | steps | 10 | at least 1 |
/// | step size | 2.5 budgets / steps (section 5 of the paper) | a finite number above 0 |
/// | restarts | 1 | at least 1; 1 without a random start |
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
/// let attack = Pgd::new(Budget::linf(Epsilon::unit(0.1))).with_steps(20).with_restarts(3);
/// let adversarial = attack.perturb(&victim, image, &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(adversarial), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Pgd {
    /// How far each image may be changed.
    pub budget: Budget,
    /// Number of steps a restart.
    #[config(default = 10)]
    pub steps: usize,
    /// The length of a step in the budget's norm, at any budget and number of steps.
    pub step_size: Option<Epsilon>,
    /// Number of tries, each from its own random start; without one all tries would be the same.
    #[config(default = 1)]
    pub restarts: usize,
    /// From a random point of the ball, or from the image itself.
    #[config(default = true)]
    pub random_start: bool,
    /// Whether an image stays at the first point that reaches the goal.
    #[config(default = true)]
    pub early_stop: bool,
    /// The seed of the random starts.
    #[config(default = 0)]
    pub seed: u64,
}

impl Pgd {
    fn ascent(&self) -> Ascent {
        Ascent::new(self.budget, self.steps, self.step_size, 2.5 * self.budget.size() / self.steps as f64)
    }
}

impl Attack for Pgd {
    fn profile(&self) -> Profile {
        let steps = self.restarts * self.steps;
        let queries = Queries::gradients(steps) + judging(self.restarts);
        Profile::within("PGD", self.budget, Access::Gradients, steps, queries)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        let restarts = restart_parameters(self.restarts, self.random_start);
        [self.ascent().parameters(&[Norm::Linf, Norm::L2, Norm::L1]), restarts].concat()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..*self })
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(self.with_steps(2 * self.steps)))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        restarts(&task, self.restarts, !self.early_stop, |task| {
            let random = || random_start(task, self.budget, self.seed);
            let start = if self.random_start { random() } else { task.images() };
            self.ascent().climb(task, start, &mut Steepest { early_stop: self.early_stop })
        })
    }
}
