//! One run of the attack that knows the detectors: up the margin and down the alarms.

use burn::tensor::activation::relu;

use crate::attack::prelude::*;
use crate::attack::steps::{Tried, Worst, cosine, random_start};
use crate::defense::detector::alarm::Alarm;

/// The settings of [`Adaptive`](super::Adaptive), beside the alarms that it knows.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number of at least 0 |
/// | norm | the budget's | Linf or L2 |
/// | steps of a run | 40 | at least 1 |
/// | step size: the first step's, later ones are shorter by a cosine | 1/4 budget | a finite number above 0 |
/// | search steps: runs, each with another constant c | 6 | at least 1 |
/// | initial constant | 1 | a finite number above 0 |
/// | confidence: the margin beyond which more is not sought | 1 | a finite number above 0 |
/// | tightening: share of the way from threshold to median clean score | 0.25 | a number from 0 to 1 |
/// | random start | true | |
/// | seed | 0 | any |
/// | alarms, of [`Adaptive::new`](super::Adaptive::new) | required | at least 1 |
#[derive(Config, Copy, Debug, PartialEq)]
pub struct AdaptiveConfig {
    /// How far each image may be changed.
    pub budget: Budget,
    /// Number of steps a run.
    #[config(default = 40)]
    pub steps: usize,
    /// The length of the first step in the budget's norm.
    pub step_size: Option<Epsilon>,
    /// Number of runs.
    #[config(default = 6)]
    pub search_steps: usize,
    /// The first weight of the alarms against the margin.
    #[config(default = 1.0)]
    pub initial_constant: f64,
    /// The margin beyond which more is not sought.
    #[config(default = 1.0)]
    pub confidence: f64,
    /// How much stricter thresholds are while crafting.
    #[config(default = 0.25)]
    pub tightening: f64,
    /// From a random point of the ball, another one for every run, or from the image itself.
    #[config(default = true)]
    pub random_start: bool,
    /// The seed of the random starts.
    #[config(default = 0)]
    pub seed: u64,
}

crate::rows! {
    /// The images that have not evaded the tightened thresholds yet.
    struct Going<'a> {
        task: Task<'a>,
        at: Tensor<4>,
        constants: Vec<f64>,
    }
}

/// How a run ended for the images that did not leave it.
pub(super) struct End {
    /// Their positions in the whole task.
    pub(super) positions: Vec<usize>,
    /// Whether each fools the classifier, detected or not.
    pub(super) fools: Vec<bool>,
}

/// What the alarms say of some points.
struct Heard {
    /// Whether one of them fires.
    fires: Vec<bool>,
    /// Whether none would at the tightened thresholds.
    safe: Vec<bool>,
    /// Of the constant times the sum of what exceeds the tightened thresholds, in their scales.
    gradient: Tensor<4>,
}

impl AdaptiveConfig {
    pub(super) fn parameters(&self, alarms: usize) -> Vec<Parameter> {
        vec![
            norm_among(self.budget.norm(), &[Norm::Linf, Norm::L2]),
            Parameter::at_least("alarms", alarms, 1),
            Parameter::at_least("steps", self.steps, 1),
            // Without a budget nothing moves, whatever the step.
            Parameter::above_zero("step size", if self.budget.is_zero() { 1.0 } else { self.step(0) }),
            Parameter::at_least("search steps", self.search_steps, 1),
            Parameter::above_zero("initial constant", self.initial_constant),
            Parameter::above_zero("confidence", self.confidence),
            Parameter::within("tightening", self.tightening, 0.0..=1.0),
        ]
    }

    /// The length of this step.
    fn step(&self, number: usize) -> f64 {
        let first = self.step_size.map_or(self.budget.size() / 4.0, Epsilon::value);
        cosine(first, 0.0, number, self.steps)
    }

    /// One run with a constant for each image of the task; offers every point on the way.
    pub(super) fn climb(
        &self,
        alarms: &[Alarm],
        task: &Task<'_>,
        constants: Vec<f64>,
        worst: &mut Worst,
    ) -> Result<End, AttackError> {
        let start = match self.random_start {
            true => random_start(task, self.budget, self.seed),
            false => task.images(),
        };
        let at = task.project(start, self.budget);
        let mut going = Going { task: task.clone(), at, constants };
        for number in 0..self.steps {
            going.task.step()?;
            let goal = going.task.goal();
            let seen =
                going.task.gradient(&going.at, |logits| goal.margin(logits).clamp_max(self.confidence));
            let heard = self.listen(alarms, &going.at, Some(&going.constants));
            let fools = goal.reached(seen.logits.clone());
            let margins = values(goal.margin(seen.logits));
            let safe: Vec<bool> =
                fools.iter().zip(&heard.safe).map(|(fools, safe)| *fools && *safe).collect();
            worst.offer(going.task.positions(), &tried(&going.at, &fools, &heard, margins));
            let left = flagged(&safe, false);
            if left.is_empty() {
                return Ok(End { positions: vec![], fools: vec![] });
            }
            let way = going.task.restrict(seen.gradient - heard.gradient).keep(&left);
            going = going.keep(&left);
            let step = self.budget.norm().unit_step(way) * self.step(number);
            going.at = going.task.project(going.at + step, self.budget);
        }
        let logits = going.task.victim().logits(going.at.clone());
        let heard = self.listen(alarms, &going.at, None);
        let fools = going.task.goal().reached(logits.clone());
        let margins = values(going.task.goal().margin(logits));
        worst.offer(going.task.positions(), &tried(&going.at, &fools, &heard, margins));
        Ok(End { positions: going.task.positions().to_vec(), fools })
    }

    /// What the alarms say of these points; without constants the gradient is zero.
    fn listen(&self, alarms: &[Alarm], at: &Tensor<4>, constants: Option<&[f64]>) -> Heard {
        let count = at.dims()[0];
        let (mut fires, mut safe) = (vec![false; count], vec![true; count]);
        let mut gradient = at.zeros_like();
        for Alarm { detector, threshold } in alarms {
            let (tightened, scale) = (threshold.tightened(self.tightening), threshold.scale());
            let points = match constants {
                Some(_) => at.clone().autodiff().require_grad(),
                None => at.clone(),
            };
            let score = detector.score(points.clone());
            let scores: Vec<f64> = values(score.clone().inner()).into_iter().map(f64::from).collect();
            let over: Vec<bool> = scores.iter().map(|score| score.is_nan() || *score > tightened).collect();
            for row in 0..count {
                fires[row] |= threshold.is_exceeded(scores[row]);
                safe[row] &= !over[row];
            }
            let Some(constants) = constants.filter(|_| over.contains(&true)) else { continue };
            let weights: Vec<f32> = constants.iter().map(|constant| (constant / scale) as f32).collect();
            let weights = Tensor::<1>::from_data(weights.as_slice(), &at.device());
            let total = (relu(score - tightened) * weights).sum();
            // A score that does not depend on the image has no graph: its gradient is zero.
            let own = match total.is_tracked() {
                true => points.grad_remove(&mut total.backward()),
                false => None,
            };
            if let Some(own) = own {
                let bad = own.clone().is_finite().bool_not();
                gradient = gradient + own.mask_fill(bad, 0.0);
            }
        }
        Heard { fires, safe, gradient }
    }
}

/// A success fools the classifier while no alarm fires at its real threshold; the score is the margin.
fn tried(at: &Tensor<4>, fools: &[bool], heard: &Heard, margins: Vec<f32>) -> Tried {
    let reached = fools.iter().zip(&heard.fires).map(|(fools, fires)| *fools && !fires).collect();
    Tried { images: at.clone(), reached, scores: margins }
}
