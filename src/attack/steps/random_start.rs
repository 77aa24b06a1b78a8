//! Where an attack with random starts begins.

use crate::attack::prelude::*;
use crate::pixels::uniform_in_ball;

/// A random start of each image and run: uniform in the budget's ball, cut to \[0,1\].
pub fn random_start(task: &Task<'_>, budget: Budget, seed: u64) -> Tensor<4> {
    let change = task.draws_of_run(Purpose::START, seed).perturbations(&task.images(), |point, rng| {
        uniform_in_ball(budget.norm(), budget.size(), point, rng);
    });
    (task.images() + change).clamp(0.0, 1.0)
}
