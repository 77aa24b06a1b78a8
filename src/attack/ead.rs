//! The elastic-net attack.

use burn::tensor::Tensor;

use super::base::{check, step};
use super::best::{Best, unset};
use super::constant::{ConstantSearch, falling};
use super::hinge::{Hinge, reached_with};
use super::parameters::{above_zero, at_least_one, from_zero};
use super::rows::{take, values};
use super::{Attack, AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

/// Which of the successes an [`Ead`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionRule {
    /// The one with the smallest `beta * |x' - x|_1 + |x' - x|_2^2`.
    ElasticNet,
    /// The one with the smallest L1 norm.
    L1,
}

/// The elastic-net attack (EAD): few values change, by iterative shrinkage and thresholding.
///
/// Chen, Sharma, Zhang, Yi & Hsieh, "EAD: Elastic-Net Attacks to Deep Neural Networks via Adversarial
/// Examples", AAAI 2018, algorithm 1: minimise
/// `c * max(0, confidence - margin(x')) + |x' - x|_2^2 + beta * |x' - x|_1` over \[0,1\] by FISTA, with
/// `x_{k+1} = S_beta(y_k - a_k * grad g(y_k))`, `y_{k+1} = x_{k+1} + k / (k + 3) * (x_{k+1} - x_k)` and
/// `a_k = learning rate * sqrt(1 - k / steps)`; S_beta sets changes of at most beta to zero and shortens others
/// by it. c is searched for each image as by [`CarliniWagner`](super::CarliniWagner). The same steps as
/// foolbox's `EADAttack`, with two differences: an image's optimisation stops early by its own loss, not by the
/// batch's; and images that the goal fits from the start, or for which nothing is found, come back as they are.
/// (torchattacks' `EADEN` and `EADL1` do not go back to the image for a new c.)
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | beta | 0.001 | finite, at least 0 |
/// | decision rule | elastic net | |
/// | confidence | 0 | finite, at least 0, in logits |
/// | search steps | 9 | at least 1 |
/// | steps | 1000 for each c | at least 1 |
/// | learning rate | 0.01 | finite, above 0 |
/// | initial constant | 0.001 | finite, above 0 |
/// | early stop | on: no progress of 0.01 % in a tenth of the steps | |
/// | limit | none | finite, at least 0, on the L1 norm |
///
/// Up to `search steps * steps` gradients, and as many forward passes, an image.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // The first pixel counts three times as much as the second.
/// let weights = Tensor::<4>::from_floats([[[[3.0, 1.0]]]], &device);
/// let victim = Frozen::from_fn(2, &device, move |x| {
///     let bright = (x * weights.clone()).sum_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright, Tensor::ones([1, 1], &Device::default())], 1)
/// });
/// let images = Tensor::full([1, 1, 1, 2], 0.3, &device);
/// let attack = Ead::new().with_steps(100).with_beta(0.05);
/// let fallen = attack.perturb(&victim, images, &Goal::untargeted([0]))?;
/// let pixels = fallen.into_data().try_into_vec::<f32>().unwrap();
/// assert!(pixels[0] < 0.25 && pixels[1] == 0.3, "{pixels:?}");
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ead {
    beta: f64,
    rule: DecisionRule,
    confidence: f64,
    search_steps: usize,
    steps: usize,
    learning_rate: f64,
    initial_constant: f64,
    early_stop: bool,
    limit: Option<Epsilon>,
}

impl Ead {
    /// EAD with the paper's settings.
    pub fn new() -> Self {
        Self {
            beta: 1e-3,
            rule: DecisionRule::ElasticNet,
            confidence: 0.0,
            search_steps: 9,
            steps: 1000,
            learning_rate: 0.01,
            initial_constant: 1e-3,
            early_stop: true,
            limit: None,
        }
    }

    /// The weight of the L1 norm, and the threshold of the shrinkage.
    pub fn with_beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// Which of the successes is kept.
    pub fn with_decision_rule(mut self, rule: DecisionRule) -> Self {
        self.rule = rule;
        self
    }

    /// The margin by which the goal has to be reached.
    pub fn with_confidence(mut self, confidence: f64) -> Self {
        self.confidence = confidence;
        self
    }

    /// How many constants to try.
    pub fn with_search_steps(mut self, steps: usize) -> Self {
        self.search_steps = steps;
        self
    }

    /// Steps for each constant.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// The size of the first step, which falls to zero.
    pub fn with_learning_rate(mut self, rate: f64) -> Self {
        self.learning_rate = rate;
        self
    }

    /// The first constant.
    pub fn with_initial_constant(mut self, constant: f64) -> Self {
        self.initial_constant = constant;
        self
    }

    /// Whether a constant is left once the loss no longer falls.
    pub fn with_early_stop(mut self, early_stop: bool) -> Self {
        self.early_stop = early_stop;
        self
    }

    /// Leaves images as they are whose perturbation would have a larger L1 norm.
    pub fn with_limit(mut self, limit: Epsilon) -> Self {
        self.limit = Some(limit);
        self
    }

    fn check(&self) -> Result<(), AttackError> {
        from_zero("beta", self.beta)?;
        from_zero("confidence", self.confidence)?;
        at_least_one("search_steps", self.search_steps)?;
        at_least_one("steps", self.steps)?;
        above_zero("learning_rate", self.learning_rate)?;
        above_zero("initial_constant", self.initial_constant)
    }

    /// Projected shrinkage-thresholding (the paper's equation 5).
    fn shrink(&self, moved: Tensor<4>, originals: &Tensor<4>) -> Tensor<4> {
        let change = moved - originals.clone();
        let shorter = (change.clone().abs() - self.beta).clamp_min(0.0) * change.sign();
        (originals.clone() + shorter).clamp(0.0, 1.0)
    }
}

impl Default for Ead {
    fn default() -> Self {
        Self::new()
    }
}

/// The images whose optimisation for the constant of the moment still runs.
struct Running {
    /// Positions among the images that the goal does not fit from the start.
    slots: Vec<usize>,
    originals: Tensor<4>,
    x: Tensor<4>,
    y: Tensor<4>,
    goal: Goal,
    constants: Vec<f32>,
    last: Vec<f32>,
}

impl Running {
    fn take(&self, slots: &[usize]) -> Self {
        let pick = |values: &[f32]| slots.iter().map(|&slot| values[slot]).collect();
        Self {
            slots: slots.iter().map(|&slot| self.slots[slot]).collect(),
            originals: take(&self.originals, slots),
            x: take(&self.x, slots),
            y: take(&self.y, slots),
            goal: self.goal.select(slots),
            constants: pick(&self.constants),
            last: pick(&self.last),
        }
    }
}

impl Attack for Ead {
    fn name(&self) -> &'static str {
        "EAD"
    }

    fn norm(&self) -> Norm {
        Norm::L1
    }

    fn epsilon(&self) -> Option<Epsilon> {
        self.limit
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(self.with_limit(epsilon))
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        check(victim, &images, goal, self.limit)?;
        self.check()?;
        let images = images.inner();
        if images.dims()[0] == 0 {
            return Ok(images);
        }
        let total = self.search_steps * self.steps;
        step(victim, self.name(), 0, total)?;
        let reached = reached_with(goal, victim.logits(images.clone()), self.confidence);
        let positions = unset(&reached);
        let mut best = Best::new(images.clone(), Norm::L1, self.limit);
        if positions.is_empty() {
            return Ok(best.into_images());
        }
        let originals = take(&images, &positions);
        let mut search = ConstantSearch::new(positions.len(), self.initial_constant, self.search_steps);
        for round in 0..self.search_steps {
            let mut found = vec![false; positions.len()];
            let mut running = Running {
                slots: (0..positions.len()).collect(),
                originals: originals.clone(),
                x: originals.clone(),
                y: originals.clone(),
                goal: goal.select(&positions),
                constants: search.constants().iter().map(|&c| c as f32).collect(),
                last: vec![f32::INFINITY; positions.len()],
            };
            for k in 0..self.steps {
                step(victim, self.name(), round * self.steps + k, total)?;
                let y = running.y.clone();
                let hinge = Hinge::new(victim, y.clone(), &running.goal, self.confidence, &running.constants);
                let change = y.clone() - running.originals.clone();
                let size = self.learning_rate * (1.0 - k as f64 / self.steps as f64).sqrt();
                let moved = y - (hinge.gradient + change.clone() * 2.0) * size;
                let x = self.shrink(moved, &running.originals);
                running.y = x.clone() + (x.clone() - running.x) * (k as f64 / (k as f64 + 3.0));
                running.x = x;
                if self.early_stop && k % self.steps.div_ceil(10) == 0 {
                    let going = falling(&hinge.losses, change, &mut running.last);
                    if going.is_empty() {
                        break;
                    }
                    if going.len() < running.slots.len() {
                        running = running.take(&going);
                    }
                }
                let logits = victim.logits(running.x.clone());
                let reached = reached_with(&running.goal, logits, self.confidence);
                let change = running.x.clone() - running.originals.clone();
                let sums = values(Norm::L1.measure(change.clone()));
                let scores: Vec<f32> = match self.rule {
                    DecisionRule::L1 => sums,
                    DecisionRule::ElasticNet => values(Norm::L2.measure(change))
                        .iter()
                        .zip(sums)
                        .map(|(length, sum)| self.beta as f32 * sum + length * length)
                        .collect(),
                };
                let places: Vec<usize> = running.slots.iter().map(|&slot| positions[slot]).collect();
                best.offer_scored(&places, &running.x, &reached, Some(&scores));
                running.slots.iter().zip(reached).for_each(|(&slot, reached)| found[slot] |= reached);
            }
            search.update(&found);
        }
        Ok(best.into_images())
    }
}
