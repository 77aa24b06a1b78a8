//! FGSM from a random start.

use crate::attack::prelude::*;
use crate::attack::steps::{Ascent, Steepest};

/// R+FGSM: a random step before that of [`Fgsm`](super::Fgsm), out of the flat spot that single-step training
/// leaves around an image. L-infinity.
///
/// `x' = x + alpha * sign(N(0, I))`, then `x' + (epsilon - alpha) * sign(grad_x' J(x', y))`, Tramèr et al.,
/// "Ensemble Adversarial Training: Attacks and Defenses", ICLR 2018, equation 7. Each point is clipped to the ball
/// and to \[0,1\].
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number of at least 0 |
/// | norm | the budget's | Linf |
/// | start size (alpha) | half the budget | a number from 0 to the budget |
/// | steps | 1 | at least 1 |
/// | step size | the budget minus the start size | a finite number above 0 |
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
/// let attack = RFgsm::new(Budget::linf(Epsilon::unit(0.2)));
/// let result = attack.perturb(&victim, Tensor::full([1, 1, 8, 8], 0.5, &device), &Goal::untargeted([1]))?;
/// // Half the budget in a random direction, the other half towards dark: 0.3 or 0.5.
/// assert!((result.clone().min().into_scalar::<f32>() - 0.3).abs() < 1e-6);
/// assert!((result.max().into_scalar::<f32>() - 0.5).abs() < 1e-6);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct RFgsm {
    /// How far each image may be changed.
    pub budget: Budget,
    /// The size of the random step, at any budget; half the budget without one.
    pub start_size: Option<Epsilon>,
    /// Number of steps after the random one.
    #[config(default = 1)]
    pub steps: usize,
    /// The size of these steps, at any budget; what the random step leaves of the budget without one.
    pub step_size: Option<Epsilon>,
    /// The seed of the random steps.
    #[config(default = 0)]
    pub seed: u64,
}

impl RFgsm {
    fn alpha(&self) -> f64 {
        self.start_size.map_or(self.budget.size() / 2.0, Epsilon::value)
    }

    fn ascent(&self) -> Ascent {
        Ascent::new(self.budget, self.steps, self.step_size, self.budget.size() - self.alpha())
    }
}

impl Attack for RFgsm {
    fn profile(&self) -> Profile {
        Profile::within("R+FGSM", self.budget, Access::Gradients, self.steps, Queries::gradients(self.steps))
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        let inside = (0.0..=self.budget.size()).contains(&self.alpha());
        let start = Parameter::new("start size", "a number from 0 to the budget", inside, self.alpha());
        [vec![start], self.ascent().parameters(&[Norm::Linf])].concat()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let signs = task.draws(Purpose::START, self.seed, &[]).perturbations(&task.images(), |point, rng| {
            point.iter_mut().for_each(|v| *v = if rng.random() { 1.0 } else { -1.0 });
        });
        let start = (task.images() + signs * self.alpha()).clamp(0.0, 1.0);
        self.ascent().climb(&task, start, &mut Steepest { early_stop: false })
    }
}
