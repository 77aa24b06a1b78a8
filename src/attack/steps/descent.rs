//! The search of Carlini & Wagner's L2 attack and of EAD: constant after constant, step after step.

use super::{Hinge, Smallest, smallest_constants};
use crate::attack::prelude::*;

/// Steps down `c * max(0, confidence - margin(x')) + |x' - x|_2^2`, with the smallest c of each image that
/// succeeds.
///
/// An image leaves a constant by its own loss, not by the batch's, so that it does not depend on its
/// neighbours.
#[derive(Clone, Copy, Debug)]
pub struct Descent {
    /// The margin by which the goal has to be reached.
    pub confidence: f64,
    /// The first constant.
    pub initial_constant: f64,
    /// How many constants to try.
    pub search_steps: usize,
    /// Steps for each constant.
    pub steps: usize,
    /// Whether an image leaves a constant once its loss does not fall by 0.01 % in a tenth of the steps.
    pub abort_early: bool,
}

crate::rows! {
    /// The points of some images, and what the victim says there.
    pub struct Slope {
        /// The points themselves.
        pub points: Tensor<4>,
        /// The gradient of the loss.
        pub gradient: Tensor<4>,
        /// Whether the goal is reached with the confidence.
        pub reached: Vec<bool>,
    }
}

/// How an attack steps down: what it knows of the images of a task that have not left the constant.
pub trait Path: Rows {
    /// Where the loss is looked at next.
    fn points(&self) -> Tensor<4>;

    /// From where the loss measures the change.
    fn origin(&self, task: &Task<'_>) -> Tensor<4> {
        task.images()
    }

    /// Goes on from there in step number `number`, offers what succeeds, and says which images do.
    fn step(&mut self, task: &Task<'_>, at: Slope, number: usize, found: &mut Smallest) -> Vec<bool>;
}

crate::rows! {
    struct Running<'a> {
        task: Task<'a>,
        slots: Vec<usize>,
        constants: Vec<f32>,
        /// The losses at the last look.
        losses: Vec<f32>,
    }
}

impl Descent {
    /// Its parameters beside their ranges.
    pub fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::from_zero("confidence", self.confidence),
            Parameter::at_least("search steps", self.search_steps, 1),
            Parameter::at_least("steps", self.steps, 1),
            Parameter::above_zero("initial constant", self.initial_constant),
        ]
    }

    /// The smallest success of each image, in this norm and within the limit; `start` begins a path for each
    /// constant.
    ///
    /// # Errors
    ///
    /// [`AttackError::Stopped`].
    pub fn search<P: Path>(
        &self,
        task: &Task<'_>,
        norm: (Norm, Option<Budget>),
        start: impl Fn(&Task<'_>) -> P,
    ) -> Result<Tensor<4>, AttackError> {
        Smallest::search(task, norm, self.confidence, |task, _, found| {
            smallest_constants(task.len(), self.initial_constant, self.search_steps, |constants| {
                self.descend(&task, constants, start(&task), found)
            })
        })
    }

    /// Which images succeed with these constants.
    fn descend(
        &self,
        task: &Task<'_>,
        constants: &[f64],
        mut path: impl Path,
        found: &mut Smallest,
    ) -> Result<Vec<bool>, AttackError> {
        let mut succeeded = vec![false; task.len()];
        let constants = constants.iter().map(|&constant| constant as f32).collect();
        let (slots, losses) = ((0..task.len()).collect(), vec![f32::INFINITY; task.len()]);
        let mut running = Running { task: task.clone(), slots, constants, losses };
        for number in 0..self.steps {
            task.step()?;
            let points = running.task.compose(path.points());
            let change = points.clone() - path.origin(&running.task);
            let Hinge { mut losses, reached, gradient } =
                Hinge::new(&running.task, &points, self.confidence, &running.constants);
            let mut slope = Slope { points, gradient: gradient + change.clone() * 2.0, reached };
            if self.abort_early && number % self.steps.div_ceil(10) == 0 {
                let lengths = values(Norm::L2.measure(change));
                losses.iter_mut().zip(lengths).for_each(|(loss, length)| *loss += length * length);
                let falling: Vec<usize> =
                    (0..losses.len()).filter(|&row| losses[row] <= 0.9999 * running.losses[row]).collect();
                if falling.is_empty() {
                    break;
                }
                running.losses = losses;
                (running, path, slope) = (running.keep(&falling), path.keep(&falling), slope.keep(&falling));
            }
            let reached = path.step(&running.task, slope, number, found);
            running.slots.iter().zip(reached).for_each(|(&slot, reached)| succeeded[slot] |= reached);
        }
        Ok(succeeded)
    }
}
