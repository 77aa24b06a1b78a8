//! The iterative loop of BIM, PGD, R-FGSM and MI-FGSM.

use burn::tensor::Tensor;

use super::base::{check, check_parameter, finite_or_zero, step};
use super::rows::{put, take};
use super::{AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

/// Steps of one length up a rule's direction, each followed by the projection into the ball and into \[0,1\].
#[derive(Clone, Copy, Debug)]
pub(super) struct Ascent {
    pub(super) attack: &'static str,
    pub(super) norm: Norm,
    pub(super) epsilon: Epsilon,
    pub(super) step_size: f64,
    pub(super) steps: usize,
}

/// Where to go from a point.
pub(super) struct Direction {
    /// Any length; an entry that is NaN or infinite counts as zero.
    pub(super) gradient: Tensor<4>,
    /// The logits at the point itself, from a rule without memory: images that reached the goal stay there.
    pub(super) logits: Option<Tensor<2>>,
}

/// How an iterative attack finds its direction.
pub(super) trait Rule {
    fn direction(&mut self, victim: &Frozen, at: &Tensor<4>, goal: &Goal, step: usize) -> Direction;
}

/// The gradient of the goal's objective.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steepest {
    /// Whether an image stays at the first point that reaches the goal.
    pub(super) early_stop: bool,
}

impl Rule for Steepest {
    fn direction(&mut self, victim: &Frozen, at: &Tensor<4>, goal: &Goal, _step: usize) -> Direction {
        let found = victim.input_gradient(at.clone(), |logits| goal.objective(logits));
        Direction { gradient: found.gradient, logits: self.early_stop.then_some(found.logits) }
    }
}

impl Ascent {
    /// The checks before any work.
    pub(super) fn check(&self, victim: &Frozen, images: &Tensor<4>, goal: &Goal) -> Result<(), AttackError> {
        let known = matches!(self.norm, Norm::Linf | Norm::L2 | Norm::L1);
        check_parameter(known, "norm", "Linf, L2 or L1", self.norm)?;
        check_parameter(self.steps >= 1, "steps", "at least 1", self.steps)?;
        check(victim, images, goal, self.epsilon)?;
        let moves = self.step_size > 0.0 || self.epsilon == Epsilon::ZERO;
        let ok = self.step_size.is_finite() && moves;
        check_parameter(ok, "step size", "a finite number above 0", self.step_size)
    }

    /// Climbs from `start`, `done` steps into `total`.
    pub(super) fn climb(
        &self,
        victim: &Frozen,
        images: &Tensor<4>,
        start: Tensor<4>,
        goal: &Goal,
        rule: &mut dyn Rule,
        (done, total): (usize, usize),
    ) -> Result<Tensor<4>, AttackError> {
        let batch = images.dims()[0];
        let mut standing: Vec<usize> = (0..batch).collect();
        let (mut origin, mut at, mut goal) = (images.clone(), start, goal.clone());
        let mut result = at.clone();
        for number in 0..self.steps {
            if standing.is_empty() {
                return Ok(result);
            }
            step(victim, self.attack, done + number, total)?;
            let Direction { mut gradient, logits } = rule.direction(victim, &at, &goal, number);
            let reached = logits.map_or_else(Vec::new, |logits| goal.reached(logits));
            if reached.contains(&true) {
                let (fallen, left): (Vec<usize>, Vec<usize>) = (0..reached.len()).partition(|&i| reached[i]);
                let places: Vec<usize> = fallen.iter().map(|&i| standing[i]).collect();
                result = put(result, &places, take(&at, &fallen));
                standing = left.iter().map(|&i| standing[i]).collect();
                if standing.is_empty() {
                    return Ok(result);
                }
                (origin, at, gradient) = (take(&origin, &left), take(&at, &left), take(&gradient, &left));
                goal = goal.select(&left);
            }
            let change = at - origin.clone() + self.norm.unit_step(finite_or_zero(gradient)) * self.step_size;
            at = (origin.clone() + self.norm.project(change, self.epsilon.value())).clamp(0.0, 1.0);
        }
        Ok(if standing.len() == batch { at } else { put(result, &standing, at) })
    }
}
