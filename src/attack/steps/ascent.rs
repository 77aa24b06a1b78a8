//! The iterative loop of BIM, PGD, R-FGSM and MI-FGSM.

use crate::attack::prelude::*;

/// Steps of one length up a rule's direction, each followed by the projection into the budget and into \[0,1\].
#[derive(Clone, Copy, Debug)]
pub struct Ascent {
    /// How far from the images.
    pub budget: Budget,
    /// The length of a step, in the budget's norm.
    pub step_size: f64,
    /// Number of steps.
    pub steps: usize,
}

/// Where to go from a point.
#[derive(Clone, Debug)]
pub struct Direction {
    /// Of any length.
    pub gradient: Tensor<4>,
    /// The logits at the point itself, from a rule without memory: images that reached the goal stay there.
    pub logits: Option<Tensor<2>>,
}

/// How an iterative attack finds its direction.
pub trait Rule {
    /// From these points of the task, in step number `step`.
    fn direction(&mut self, task: &Task<'_>, at: &Tensor<4>, step: usize) -> Direction;
}

/// The gradient of the goal's objective.
#[derive(Clone, Copy, Debug)]
pub struct Steepest {
    /// Whether an image stays at the first point that reaches the goal.
    pub early_stop: bool,
}

impl Rule for Steepest {
    fn direction(&mut self, task: &Task<'_>, at: &Tensor<4>, _step: usize) -> Direction {
        let found = task.ascent(at);
        Direction { gradient: found.gradient, logits: self.early_stop.then_some(found.logits) }
    }
}

impl Ascent {
    /// With steps of this length at any budget, or else of the usual one.
    pub(crate) fn new(budget: Budget, steps: usize, step_size: Option<Epsilon>, usual: f64) -> Self {
        Self { budget, step_size: step_size.map_or(usual, Epsilon::value), steps }
    }

    /// Its parameters beside their ranges, for attacks that know these norms.
    pub fn parameters(&self, norms: &[Norm]) -> Vec<Parameter> {
        // Without a budget nothing moves, whatever the step.
        let step_size = if self.budget.is_zero() && self.step_size == 0.0 { 1.0 } else { self.step_size };
        vec![
            norm_among(self.budget.norm(), norms),
            Parameter::at_least("steps", self.steps, 1),
            Parameter::above_zero("step size", step_size),
        ]
    }

    /// Climbs from `start`, a point an image of the task.
    ///
    /// # Errors
    ///
    /// [`AttackError::Stopped`].
    pub fn climb(
        &self,
        task: &Task<'_>,
        start: Tensor<4>,
        rule: &mut dyn Rule,
    ) -> Result<Tensor<4>, AttackError> {
        let mut result = start.clone();
        let (mut standing, mut at) = (task.afresh(), start);
        for number in 0..self.steps {
            standing.step()?;
            let Direction { mut gradient, logits } = rule.direction(&standing, &at, number);
            let reached = logits.map_or_else(Vec::new, |logits| standing.goal().reached(logits));
            if reached.contains(&true) {
                let (fallen, left) = (flagged(&reached, true), flagged(&reached, false));
                result = put(result, standing.keep(&fallen).positions(), at.keep(&fallen));
                if left.is_empty() {
                    return Ok(result);
                }
                (standing, at, gradient) = (standing.keep(&left), at.keep(&left), gradient.keep(&left));
            }
            let step = self.budget.norm().unit_step(standing.restrict(gradient)) * self.step_size;
            at = standing.add(at - standing.images() + step, self.budget);
        }
        Ok(put(result, standing.positions(), at))
    }
}
