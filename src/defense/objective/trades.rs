//! Adversarial training that trades accuracy against robustness.

use burn::config::Config;
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use rand_distr::{Distribution, StandardNormal};

use super::base::{Loss, Objective};
use super::cross_entropy::cross_entropy;
use super::step::Step;
use super::trainee::Trainee;
use crate::attack::steps::{Ascent, Direction, Rule};
use crate::attack::{Access, Profile, Task};
use crate::classifier::Queries;
use crate::data::Batch;
use crate::defense::DefenseError;
use crate::parameter::{self, Parameter};
use crate::pixels::{Budget, Epsilon, Norm};
use crate::random::Purpose;

/// The size of a step in the paper, and the budget that it is for.
const STEP: f64 = 0.007 / 0.031;

/// The deviation of the start: at the image itself the divergence has no gradient.
const START: f64 = 0.001;

/// TRADES: the cross-entropy of the images as they are, and how far nearby images are classified otherwise.
///
/// `CE(f(x), y) + beta / n * sum KL(p(x) || p(x'))`, Zhang et al., "Theoretically Principled Trade-off
/// between Robustness and Accuracy", ICML 2019, equation 5, as in the paper's code (TRADES, `trades.py`).
/// `x'` climbs that divergence by sign steps from `x + 0.001 N(0, 1)`, in evaluation mode.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required; 0.031 in the paper's CIFAR-10 | a finite number of at least 0 |
/// | norm | the budget's | Linf |
/// | beta | 6 | a finite number of at least 0 |
/// | steps | 10 | at least 1 |
/// | step size | 7/31 of the budget | a finite number above 0 |
/// | seed | 0 | any |
///
/// The defaults are those of `train_trades_cifar10.py`, whose step is 0.007 at 0.031. The divergence is
/// summed over classes and averaged over images, and gradients flow through both of its sides. As in that
/// code the network sees the images twice in training mode, before and after the crafted ones, so that batch
/// norm's running statistics move three times a step. It costs `steps + 3` times a plain one.
///
/// Accuracy in training is that of the crafted images.
///
/// ```
/// use histoguard::prelude::*;
/// # #[cfg(feature = "train")]
/// # {
///
/// let objective = Trades::new(Budget::pixels(4.0)).with_beta(3.0);
/// let trainer = Trainer::new(TrainingConfig::paper()).objective(objective);
/// # }
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Trades {
    /// How far each image is changed.
    pub budget: Budget,
    /// The weight of robustness.
    #[config(default = 6.0)]
    pub beta: f64,
    /// Number of steps.
    #[config(default = 10)]
    pub steps: usize,
    /// The length of a step; 7/31 of the budget without one.
    pub step_size: Option<Epsilon>,
    /// The seed of the starts.
    #[config(default = 0)]
    pub seed: u64,
}

impl Trades {
    fn ascent(&self) -> Ascent {
        Ascent::new(self.budget, self.steps, self.step_size, STEP * self.budget.size())
    }

    /// Climbs from where `start` says.
    pub(super) fn craft_from(
        &self,
        step: &Step<'_>,
        start: impl FnOnce(&Task<'_>) -> Tensor<4>,
    ) -> Result<Tensor<4>, DefenseError> {
        parameter::check(self.parameters())?;
        let queries = Queries::gradients(self.steps) + Queries::forwards(1);
        let profile = Profile::within(self.name(), self.budget, Access::Gradients, self.steps, queries);
        let task = Task::new(step.victim(), step.batch().images.clone(), &step.goal(), profile)?;
        let start = start(&task);
        let clean = log_softmax(step.victim().logits(task.images()), 1);
        Ok(self.ascent().climb(&task, start, &mut Divergence { clean })?)
    }
}

/// Near the images, where the divergence has a gradient.
fn beside(task: &Task<'_>, seed: u64) -> Tensor<4> {
    let noise = task.draws(Purpose::START, seed, &[]).perturbations(&task.images(), |values, rng| {
        values.fill_with(|| {
            let standard: f32 = StandardNormal.sample(rng);
            standard * START as f32
        });
    });
    task.images() + noise
}

/// Up the divergence from the images' probabilities.
struct Divergence {
    /// The logarithms of those.
    clean: Tensor<2>,
}

impl Rule for Divergence {
    fn direction(&mut self, task: &Task<'_>, at: &Tensor<4>, _step: usize) -> Direction {
        let clean = self.clean.clone();
        let found = task.gradient(at, |logits| divergence(clean.clone(), log_softmax(logits, 1)));
        Direction { gradient: found.gradient, logits: None }
    }
}

/// KL(p || q) of each image from the logarithms, which stay finite where probabilities underflow.
fn divergence(log_p: Tensor<2>, log_q: Tensor<2>) -> Tensor<1> {
    (log_p.clone().exp() * (log_p - log_q)).sum_dim(1).squeeze_dim(1)
}

impl Objective for Trades {
    fn name(&self) -> String {
        "TRADES".into()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let own = vec![self.budget.parameter("budget"), Parameter::from_zero("beta", self.beta)];
        [own, self.ascent().parameters(&[Norm::Linf])].concat()
    }

    fn craft(&self, step: &Step<'_>) -> Result<Tensor<4>, DefenseError> {
        self.craft_from(step, |task| beside(task, step.seed(self.seed)))
    }

    fn loss(&self, network: &dyn Trainee, batch: &Batch, crafted: Tensor<4>) -> Loss {
        let natural = cross_entropy(network, batch.images.clone(), batch.labels.clone()).value;
        let logits = network.logits(crafted);
        let clean = network.logits(batch.images.clone());
        let robust = divergence(log_softmax(clean, 1), log_softmax(logits.clone(), 1)).mean();
        Loss { value: natural + robust * self.beta, logits }
    }

    fn budget(&self) -> Option<Budget> {
        Some(self.budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::Goal;
    use crate::classifier::Frozen;
    use crate::rows::values;
    use burn::tensor::Device;

    #[test]
    fn divergence_is_that_of_the_definition() {
        let device = Device::default();
        let logarithms = |p: [f32; 3]| Tensor::<2>::from_floats([p.map(f32::ln)], &device);
        let (p, q) = ([0.5f64, 0.3, 0.2], [0.2f64, 0.2, 0.6]);
        let expected: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
        let found = values(divergence(logarithms([0.5, 0.3, 0.2]), logarithms([0.2, 0.2, 0.6])));
        assert!((f64::from(found[0]) - expected).abs() < 1e-6, "{found:?} {expected}");
        // Logits so far apart that the lower probability is zero in f32.
        let far = |a: f32, b: f32| log_softmax(Tensor::<2>::from_floats([[a, b]], &device), 1);
        assert_eq!(values(divergence(far(200.0, 0.0), far(0.0, 200.0))), [200.0]);
    }

    #[test]
    fn starts_are_normal_and_tiny() {
        let device = Device::default();
        let victim = Frozen::from_fn(2, &device, |x| x.mean_dims(&[2, 3]).reshape([-1, 2]));
        let (images, goal) = (Tensor::full([8, 2, 32, 32], 0.5, &device), Goal::untargeted([0; 8]));
        let profile = Profile::within("", Budget::pixels(1.0), Access::Gradients, 1, Queries::gradients(1));
        let task = Task::new(&victim, images, &goal, profile).unwrap();
        let start = values(beside(&task, 3) - 0.5);
        let count = start.len() as f64;
        let moment = |power| start.iter().map(|&v| (f64::from(v) / START).powi(power)).sum::<f64>() / count;
        // Within five standard errors; a value near 0.5 is rounded to 3e-8, which adds 1e-9 to the variance.
        assert!(moment(1).abs() < 5.0 / count.sqrt(), "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "{}", moment(2));
        assert!((moment(4) - 3.0).abs() < 5.0 * (96.0 / count).sqrt(), "{}", moment(4));
        assert_ne!(start, values(beside(&task, 4) - 0.5));
    }
}
