//! Carlini & Wagner's attack in L2.

use burn::tensor::Tensor;

use crate::attack::adam::Adam;
use crate::attack::base::{check, step};
use crate::attack::best::{Best, unset};
use crate::attack::constant::{ConstantSearch, falling};
use crate::attack::hinge::{Hinge, reached_with};
use crate::attack::parameters::{above_zero, at_least_one, from_zero};
use crate::attack::rows::take;
use crate::attack::{Attack, AttackError, Goal, Norm, tanh_space};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

/// Carlini & Wagner's L2 attack: the smallest change that still succeeds, by Adam in the space of `w` with
/// `x' = (tanh(w) + 1) / 2`.
///
/// Carlini & Wagner, "Towards Evaluating the Robustness of Neural Networks", S&P 2017, section VI.A: minimise
/// `|x' - x|_2^2 + c * max(0, confidence - margin(x'))`, where the margin is that of [`Goal::margin`], with the
/// smallest c that succeeds, found by a search of its own for each image (times ten until it does, then
/// bisection). The same steps as foolbox's `L2CarliniWagnerAttack`, with two differences: an image's
/// optimisation stops early by its own loss, not by the batch's, so that it does not depend on its neighbours;
/// and images that the goal fits from the start, or for which nothing is found, come back as they are.
/// (torchattacks' `CW` has no search over c.)
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | confidence | 0 | finite, at least 0, in logits |
/// | search steps | 9 | at least 1 |
/// | steps | 10000 for each c | at least 1 |
/// | learning rate | 0.01 | finite, above 0 |
/// | initial constant | 0.001 | finite, above 0 |
/// | early stop | on: no progress of 0.01 % in a tenth of the steps | |
/// | limit | none | finite, at least 0 |
///
/// Up to `search steps * steps` gradients an image.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone(), bright.neg() + 1.0], 1)
/// });
/// // "Bright" ends at a mean of 0.5: nearest where each of the four pixels gives 0.1.
/// let images = Tensor::full([1, 1, 2, 2], 0.6, &device);
/// let attack = CarliniWagner::new().with_steps(100);
/// let change = attack.perturb(&victim, images.clone(), &Goal::untargeted([0]))? - images;
/// assert!((Norm::L2.measure(change).into_scalar::<f32>() - 0.2).abs() < 0.01);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CarliniWagner {
    confidence: f64,
    search_steps: usize,
    steps: usize,
    learning_rate: f64,
    initial_constant: f64,
    early_stop: bool,
    limit: Option<Epsilon>,
}

impl CarliniWagner {
    /// The attack with the settings of the authors' code.
    pub fn new() -> Self {
        Self {
            confidence: 0.0,
            search_steps: 9,
            steps: 10_000,
            learning_rate: 0.01,
            initial_constant: 1e-3,
            early_stop: true,
            limit: None,
        }
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

    /// Steps of Adam for each constant.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Adam's learning rate, in the space of `w`.
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

    /// Leaves images as they are whose perturbation would be larger.
    pub fn with_limit(mut self, limit: Epsilon) -> Self {
        self.limit = Some(limit);
        self
    }

    fn check(&self) -> Result<(), AttackError> {
        from_zero("confidence", self.confidence)?;
        at_least_one("search_steps", self.search_steps)?;
        at_least_one("steps", self.steps)?;
        above_zero("learning_rate", self.learning_rate)?;
        above_zero("initial_constant", self.initial_constant)
    }
}

impl Default for CarliniWagner {
    fn default() -> Self {
        Self::new()
    }
}

/// The images whose optimisation for the constant of the moment still runs.
struct Running {
    positions: Vec<usize>,
    /// The images as they come back from the space of `w`, from where the loss measures.
    rebuilt: Tensor<4>,
    w: Tensor<4>,
    adam: Adam,
    goal: Goal,
    constants: Vec<f32>,
    last: Vec<f32>,
}

impl Running {
    fn take(&self, slots: &[usize]) -> Self {
        let pick = |values: &[f32]| slots.iter().map(|&slot| values[slot]).collect();
        Self {
            positions: slots.iter().map(|&slot| self.positions[slot]).collect(),
            rebuilt: take(&self.rebuilt, slots),
            w: take(&self.w, slots),
            adam: self.adam.take(slots),
            goal: self.goal.select(slots),
            constants: pick(&self.constants),
            last: pick(&self.last),
        }
    }
}

impl Attack for CarliniWagner {
    fn name(&self) -> &'static str {
        "Carlini & Wagner"
    }

    fn norm(&self) -> Norm {
        Norm::L2
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
        let mut best = Best::new(images.clone(), Norm::L2, self.limit);
        if positions.is_empty() {
            return Ok(best.into_images());
        }
        let start = tanh_space::from_images(take(&images, &positions));
        let rebuilt = tanh_space::to_images(start.clone());
        let mut search = ConstantSearch::new(positions.len(), self.initial_constant, self.search_steps);
        let slots: Vec<usize> = (0..positions.len()).collect();
        for round in 0..self.search_steps {
            let mut found = vec![false; positions.len()];
            let mut running = Running {
                positions: slots.clone(),
                rebuilt: rebuilt.clone(),
                w: start.clone(),
                adam: Adam::new(self.learning_rate, &start),
                goal: goal.select(&positions),
                constants: search.constants().iter().map(|&c| c as f32).collect(),
                last: vec![f32::INFINITY; positions.len()],
            };
            for done in 0..self.steps {
                step(victim, self.name(), round * self.steps + done, total)?;
                let tried = tanh_space::to_images(running.w.clone());
                let mut hinge =
                    Hinge::new(victim, tried.clone(), &running.goal, self.confidence, &running.constants);
                let mut change = tried.clone() - running.rebuilt.clone();
                let mut tried = tried;
                if self.early_stop && done % self.steps.div_ceil(10) == 0 {
                    let slots = falling(&hinge.losses, change.clone(), &mut running.last);
                    if slots.is_empty() {
                        break;
                    }
                    if slots.len() < running.positions.len() {
                        running = running.take(&slots);
                        (change, tried) = (take(&change, &slots), take(&tried, &slots));
                        hinge.gradient = take(&hinge.gradient, &slots);
                        hinge.reached = slots.iter().map(|&slot| hinge.reached[slot]).collect();
                    }
                }
                let places: Vec<usize> = running.positions.iter().map(|&slot| positions[slot]).collect();
                best.offer(&places, &tried, &hinge.reached);
                running
                    .positions
                    .iter()
                    .zip(&hinge.reached)
                    .for_each(|(&slot, reached)| found[slot] |= reached);
                let gradient = tanh_space::pull_back(hinge.gradient + change * 2.0, &tried);
                running.w = running.w.clone() - running.adam.step(gradient);
            }
            search.update(&found);
        }
        Ok(best.into_images())
    }
}
