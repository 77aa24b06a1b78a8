//! The loss that Carlini & Wagner and their followers lower: how far an image is from success.

use burn::tensor::activation::relu;

use crate::attack::Goal;
use crate::attack::prelude::*;

crate::rows! {
    /// What one pass through the victim says about the images.
    pub struct Hinge {
        /// `constant * max(0, confidence - margin)`, one value an image.
        pub losses: Vec<f32>,
        /// Whether the goal is reached with the confidence.
        pub reached: Vec<bool>,
        /// The gradient of the losses.
        pub gradient: Tensor<4>,
    }
}

impl Hinge {
    /// Loss f6 of Carlini & Wagner, S&P 2017, at these points of the task, with the constants as weights.
    pub fn new(task: &Task<'_>, points: &Tensor<4>, confidence: f64, constants: &[f32]) -> Self {
        let goal = task.goal();
        let pass = task.gradient(points, |logits| {
            let weights = Tensor::<1>::from_data(constants, &logits.device());
            relu(goal.margin(logits).neg() + confidence) * weights
        });
        let margins = values(goal.margin(pass.logits.clone()));
        let losses =
            margins.iter().zip(constants).map(|(m, c)| (confidence as f32 - m).max(0.0) * c).collect();
        Self { losses, reached: reached_by(goal, pass.logits, confidence), gradient: pass.gradient }
    }
}

/// Whether the logits reach the goal by a margin of at least `confidence`.
pub fn reached_by(goal: &Goal, logits: Tensor<2>, confidence: f64) -> Vec<bool> {
    if confidence == 0.0 {
        return goal.reached(logits);
    }
    let margins = values(goal.margin(logits.clone()));
    let far = |margin: f32| f64::from(margin) >= confidence;
    goal.reached(logits).into_iter().zip(margins).map(|(reached, margin)| reached && far(margin)).collect()
}
