//! The momentum iterative method.

use serde::{Deserialize, Serialize};

use super::diversity::InputDiversity;
use crate::attack::prelude::*;
use crate::attack::steps::{Ascent, Direction, Rule};
use crate::pixels::{Separable, gaussian_rows, uniform_in_ball};
use crate::rows::factors;

/// The momentum iterative method, with the options that make its examples transfer to other networks.
///
/// `g_{t+1} = mu * g_t + grad / mean|grad|`, `x_{t+1} = project(x_t + alpha * sign(g_{t+1}))` from `x_0 = x`
/// and `g_0 = 0`: Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018, algorithm 1. In L2
/// the gradient is divided by its L2 norm and the step is `alpha * g / |g|` (foolbox's
/// `L2MomentumIterativeFastGradientMethod`).
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number of at least 0 |
/// | norm | the budget's | Linf or L2 |
/// | steps | 10 | at least 1 |
/// | step size | budget / steps | a finite number above 0 |
/// | decay (mu) | 1.0 | a finite number of at least 0 |
/// | Nesterov | false | |
/// | scale invariance: copies | 1 (5 in the paper) | a number from 1 to 32 |
/// | input diversity probability | none | a number from 0 to 1 |
/// | input diversity resize rate | none | a number above 0 and below 1 |
/// | translation invariance: kernel | none (15 in the paper) | an odd number below 256 |
/// | variance tuning neighbours | none | at least 1 |
/// | variance tuning beta | none | a finite number above 0 |
/// | seed | 0 | any |
///
/// The defaults are the paper's. The options change the gradient and combine freely:
///
/// | option | the gradient is | source |
/// | --- | --- | --- |
/// | [Nesterov](Self::nesterov) (NI) | taken where the momentum leads | Lin et al., ICLR 2020 |
/// | [scale invariance](Self::scale_invariance) (SI) | the mean over `x / 2^i` | Lin et al., ICLR 2020 |
/// | [input diversity](InputDiversity) (DI) | that of a randomly resized and padded copy | Xie et al., CVPR 2019 |
/// | [translation invariance](Self::translation_invariance) (TI) | convolved with a Gaussian | Dong et al., CVPR 2019 |
/// | [variance tuning](VarianceTuning) (VMI, VNI) | corrected by that of the last step's neighbours | Wang & He, CVPR 2021 |
///
/// A step costs one gradient; times the copies of SI; times one plus the neighbours of VMI, apart from the
/// last step. No image stops early: examples that barely fool this network seldom fool another.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let attack = MiFgsm::new(Budget::linf(Epsilon::unit(0.2))).with_steps(4);
/// let attack = attack.with_nesterov(true).with_scale_invariance(5);
/// let darker = attack.perturb(&victim, Tensor::full([1, 1, 4, 4], 0.5, &device), &Goal::untargeted([1]))?;
/// assert!((darker.mean().into_scalar::<f32>() - 0.3).abs() < 1e-6);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct MiFgsm {
    /// How far each image may be changed.
    pub budget: Budget,
    /// Number of steps.
    #[config(default = 10)]
    pub steps: usize,
    /// The length of a step in the budget's norm, at any budget and number of steps.
    pub step_size: Option<Epsilon>,
    /// The share of the momentum that stays from step to step; 0 for none.
    #[config(default = 1.0)]
    pub decay: f64,
    /// NI: gradients at `x_t + alpha * mu * g_t`, Lin et al., "Nesterov Accelerated Gradient and Scale
    /// Invariance for Adversarial Attacks", ICLR 2020, equation 6.
    #[config(default = false)]
    pub nesterov: bool,
    /// SI: the mean gradient over so many copies of the image, each half as bright as the one before, Lin et
    /// al., ICLR 2020, equation 7; 1 for none.
    #[config(default = 1)]
    pub scale_invariance: usize,
    /// DI: gradients of randomly resized and padded images.
    pub input_diversity: Option<InputDiversity>,
    /// TI: gradients smoothed by a Gaussian of so many pixels a side that ends at three standard deviations,
    /// Dong et al., "Evading Defenses to Transferable Adversarial Examples by Translation-Invariant Attacks",
    /// CVPR 2019.
    pub translation_invariance: Option<usize>,
    /// VMI, with Nesterov VNI: gradients corrected by those of neighbours.
    pub variance_tuning: Option<VarianceTuning>,
    /// The seed of input diversity and variance tuning.
    #[config(default = 0)]
    pub seed: u64,
}

/// Variance tuning: to each gradient is added by how much the mean over neighbours of the last image, uniform
/// in a ball, differed from that step's own gradient. Wang & He, "Enhancing the Transferability of
/// Adversarial Attacks through Variance Tuning", CVPR 2021, algorithm 1; 20 and 1.5 there, 5 and 1.5 in
/// torchattacks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct VarianceTuning {
    /// Number of neighbours.
    pub neighbours: usize,
    /// The ball's radius, in budgets.
    pub beta: f64,
}

impl VarianceTuning {
    fn parameters(self) -> [Parameter; 2] {
        let neighbours = Parameter::at_least("variance tuning neighbours", self.neighbours, 1);
        [neighbours, Parameter::above_zero("variance tuning beta", self.beta)]
    }
}

impl MiFgsm {
    fn ascent(&self) -> Ascent {
        Ascent::new(self.budget, self.steps, self.step_size, self.budget.size() / self.steps as f64)
    }
}

impl Attack for MiFgsm {
    /// Named `MI-FGSM`, `NI-FGSM`, `VMI-FGSM` or `VNI-FGSM`; the other options do not show.
    fn profile(&self) -> Profile {
        let name = match (self.variance_tuning.is_some(), self.nesterov) {
            (false, false) => "MI-FGSM",
            (false, true) => "NI-FGSM",
            (true, false) => "VMI-FGSM",
            (true, true) => "VNI-FGSM",
        };
        let neighbours = self.variance_tuning.map_or(0, |tuning| tuning.neighbours);
        let points = self.steps + neighbours * self.steps.saturating_sub(1);
        let queries = Queries::gradients(self.scale_invariance * points);
        Profile::within(name, self.budget, Access::Gradients, self.steps, queries)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        let mut parameters = self.ascent().parameters(&[Norm::Linf, Norm::L2]);
        parameters.push(Parameter::from_zero("decay", self.decay));
        parameters.push(Parameter::within("scale invariance", self.scale_invariance as f64, 1.0..=32.0));
        parameters.extend(self.input_diversity.into_iter().flat_map(InputDiversity::parameters));
        parameters.extend(self.translation_invariance.map(|kernel| {
            let odd = kernel % 2 == 1 && kernel < 256;
            Parameter::new("translation invariance", "an odd number below 256", odd, kernel)
        }));
        parameters.extend(self.variance_tuning.into_iter().flat_map(VarianceTuning::parameters));
        parameters
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let [_, height, width] = task.shape();
        let images = task.images();
        let smoothing = self.translation_invariance.map(|length| {
            let sides = (gaussian_rows(height, length), gaussian_rows(width, length));
            Separable::new(vec![sides], &images)
        });
        let (momentum, variance) = (images.zeros_like(), None);
        self.ascent().climb(&task, images, &mut Momentum { attack: self, smoothing, momentum, variance })
    }
}

/// The running direction of one batch.
struct Momentum<'a> {
    attack: &'a MiFgsm,
    smoothing: Option<Separable>,
    momentum: Tensor<4>,
    /// By how much the last step's neighbours differed from its own gradient.
    variance: Option<Tensor<4>>,
}

impl Momentum<'_> {
    /// The gradient at a point through the copies and transformations; `pass` tells random draws apart.
    fn gradient(&self, task: &Task<'_>, at: &Tensor<4>, pass: [u64; 2]) -> Tensor<4> {
        let MiFgsm { scale_invariance: copies, input_diversity, seed, .. } = *self.attack;
        let gradients = (0..copies).map(|copy| {
            let scale = 0.5f64.powi(copy as i32);
            let scaled = at.clone() * scale;
            let gradient = match input_diversity {
                None => task.ascent(&scaled).gradient,
                Some(diversity) => {
                    let parts = [pass[0], pass[1], copy as u64];
                    let resized = diversity.draw(at, &task.draws(Purpose::INPUT_DIVERSITY, seed, &parts));
                    let objective = |logits| task.goal().objective(logits);
                    resized.adjoint(task.whole_gradient(&resized.apply(scaled), objective).gradient)
                }
            };
            gradient * scale
        });
        let mean = mean(gradients);
        task.restrict(if let Some(smoothing) = &self.smoothing { smoothing.apply(mean) } else { mean })
    }

    /// The mean gradient of the neighbours.
    fn around(&self, task: &Task<'_>, at: &Tensor<4>, step: usize, tuning: VarianceTuning) -> Tensor<4> {
        let (VarianceTuning { neighbours, beta }, MiFgsm { budget, seed, .. }) = (tuning, *self.attack);
        let gradients = (0..neighbours).map(|neighbour| {
            let pass = [step as u64, neighbour as u64 + 1];
            let draws = task.draws(Purpose::VARIANCE_TUNING, seed, &pass);
            let change = draws.perturbations(at, |point, rng| {
                uniform_in_ball(budget.norm(), beta * budget.size(), point, rng);
            });
            self.gradient(task, &(at.clone() + change), pass)
        });
        mean(gradients)
    }
}

impl Rule for Momentum<'_> {
    fn direction(&mut self, task: &Task<'_>, at: &Tensor<4>, step: usize) -> Direction {
        let attack = self.attack;
        let ahead = match attack.nesterov {
            true => at.clone() + self.momentum.clone() * (attack.decay * attack.ascent().step_size),
            false => at.clone(),
        };
        let own = self.gradient(task, &ahead, [step as u64, 0]);
        let tuned =
            if let Some(variance) = &self.variance { own.clone() + variance.clone() } else { own.clone() };
        let unit = match attack.budget.norm() {
            // Divided by its mean size, over what may change.
            Norm::Linf => {
                let dimensions: Vec<f64> = (0..task.len()).map(|row| task.dimension(row) as f64).collect();
                Norm::L1.unit_step(tuned.clone()) * factors(&dimensions, &tuned)
            }
            norm => norm.unit_step(tuned),
        };
        self.momentum = self.momentum.clone() * attack.decay + unit;
        let tuning = attack.variance_tuning.filter(|_| step + 1 < attack.steps);
        self.variance = tuning.map(|tuning| self.around(task, at, step, tuning) - own);
        Direction { gradient: self.momentum.clone(), logits: None }
    }
}

/// The mean of one gradient at least.
fn mean(gradients: impl ExactSizeIterator<Item = Tensor<4>>) -> Tensor<4> {
    let count = gradients.len() as f64;
    gradients.reduce(|sum, gradient| sum + gradient).expect("one at least") / count
}
