//! Sigma-zero.

use burn::tensor::activation::relu;

use crate::attack::prelude::*;
use crate::attack::steps::{Adam, Smallest, cosine};
use crate::classifier::InputGradient;

/// The shortest gradient, in a division, as in the reference.
const TINY: f32 = 1e-12;

/// Sigma-zero: as few changed values as possible, by Adam on a smooth stand-in for their number and a
/// threshold below which changes go back to zero.
///
/// Cinà, Villani, Pintor, Schönherr, Biggio & Pelillo, "σ-zero: Gradient-based Optimization of ℓ0-norm
/// Adversarial Examples", ICLR 2025, algorithm 1: minimise `max(0, -margin(x + d)) + 1/n * sum_i d_i^2 /
/// (d_i^2 + sigma)` with gradients normalised in L-infinity and a step size that falls from eta 0 to a tenth
/// of it along a cosine; after each step, changes smaller than tau are zero, and tau grows by tau factor
/// times the step size after an adversarial point and shrinks by it after another one. As adv-lib's
/// `sigma_zero`, point for point; towards a target, which that does not take, with the margin towards it.
///
/// It counts values and not pixels, as [`Norm::L0`] does: a pixel's channels count singly. One gradient a
/// step. Images for which nothing is found within the limit come back as they are.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | limit | none | a budget in the attack's norm |
/// | steps | 1000 | at least 1 |
/// | eta 0: first step size | 1 | a finite number above 0 |
/// | sigma: how smooth the stand-in is | 0.001 | a finite number above 0 |
/// | tau 0: first threshold | 0.3 | a number from 0 to 1 |
/// | tau factor: change of the threshold as a share of the step size | 0.01 | a finite number of at least 0 |
/// | grad norm: in which gradients are normalised | Linf | Linf, L2 or L1 |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // The first pixel counts five times as much as the second.
/// let weights = Tensor::<4>::from_floats([[[[1.0, 0.2]]]], &device);
/// let victim = Frozen::from_fn(2, &device, move |x| {
///     let bright = (x * weights.clone()).sum_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright, Tensor::full([1, 1], 0.4, &Device::default())], 1)
/// });
/// let images = Tensor::full([1, 1, 1, 2], 0.5, &device);
/// let attack = SigmaZero::new().with_steps(200);
/// let fallen = attack.perturb(&victim, images.clone(), &Goal::untargeted([0]))?;
/// assert_eq!(Norm::L0.measure(fallen - images).into_scalar::<f32>(), 1.0);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct SigmaZero {
    /// Images that need more changed values stay as they are.
    pub limit: Option<Budget>,
    /// Number of steps.
    #[config(default = 1000)]
    pub steps: usize,
    /// The size of the first step.
    #[config(default = 1.0)]
    pub eta_0: f64,
    /// The smaller, the nearer the stand-in is to the number of changed values.
    #[config(default = 0.001)]
    pub sigma: f64,
    /// The first threshold below which changes are zero.
    #[config(default = 0.3)]
    pub tau_0: f64,
    /// The change of the threshold in a step, as a share of the step size.
    #[config(default = 0.01)]
    pub tau_factor: f64,
    /// The norm in which gradients have length one.
    #[config(default = "Norm::Linf")]
    pub grad_norm: Norm,
}

impl SigmaZero {
    /// The gradient of the loss at length one, given that of its first part and the change.
    fn slope(&self, gradient: Tensor<4>, change: &Tensor<4>) -> Tensor<4> {
        let [_, channels, height, width] = change.dims();
        let weight = 2.0 * self.sigma / (channels * height * width) as f64;
        let slope = gradient + change.clone() / (change.clone().square() + self.sigma).square() * weight;
        let lengths = values(self.grad_norm.measure(slope.clone()));
        let shares: Vec<f32> = lengths.into_iter().map(|length| length.max(TINY).recip()).collect();
        slope.clone() * factors(&shares, &slope)
    }
}

impl Attack for SigmaZero {
    fn profile(&self) -> Profile {
        let queries = Queries::forwards(1) + Queries::gradients(self.steps);
        Profile::smallest("sigma-zero", (Norm::L0, self.limit), Access::Gradients, self.steps, queries)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        let known = matches!(self.grad_norm, Norm::Linf | Norm::L2 | Norm::L1);
        vec![
            Parameter::at_least("steps", self.steps, 1),
            Parameter::above_zero("eta 0", self.eta_0),
            Parameter::above_zero("sigma", self.sigma),
            Parameter::within("tau 0", self.tau_0, 0.0..=1.0),
            Parameter::from_zero("tau factor", self.tau_factor),
            Parameter::new("grad norm", "Linf, L2 or L1", known, self.grad_norm),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { limit: Some(budget), ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Smallest::search(&task, (Norm::L0, self.limit), 0.0, |task, _, found| {
            let (images, goal) = (task.images(), task.goal());
            let mut adam = Adam::new(1.0, &images);
            let mut thresholds = vec![self.tau_0; task.len()];
            let (mut points, mut eta) = (images.clone(), self.eta_0);
            for step in 0..self.steps {
                task.step()?;
                let InputGradient { logits, gradient } =
                    task.gradient(&points, |logits| relu(goal.margin(logits).neg()));
                let reached = goal.reached(logits);
                found.offer(task.positions(), &points, &reached);

                let slope = self.slope(gradient, &(points.clone() - images.clone()));
                points = (points - adam.step(slope) * eta).clamp(0.0, 1.0);
                eta = cosine(self.eta_0, 0.1 * self.eta_0, step, self.steps);
                for (threshold, &reached) in thresholds.iter_mut().zip(&reached) {
                    let more = if reached { self.tau_factor * eta } else { -self.tau_factor * eta };
                    *threshold = (*threshold + more).clamp(0.0, 1.0);
                }
                let small = (points.clone() - images.clone())
                    .abs()
                    .lower(factors(&thresholds, &points).expand(points.dims()));
                points = points.mask_where(small, images.clone());
            }
            Ok(())
        })
    }
}
