//! The loss that Carlini & Wagner and their followers lower: how far an image is from success.

use burn::tensor::{Tensor, activation::relu};

use super::Goal;
use super::base::finite_or_zero;
use super::rows::values;
use crate::classifier::Frozen;

/// What one pass through the victim says about the images.
pub(crate) struct Hinge {
    /// `constant * max(0, confidence - margin)`, one value an image.
    pub(crate) losses: Vec<f32>,
    /// Whether the goal is reached with the confidence.
    pub(crate) reached: Vec<bool>,
    /// The gradient of the losses.
    pub(crate) gradient: Tensor<4>,
}

impl Hinge {
    /// Loss f6 of Carlini & Wagner, S&P 2017, with the constants as weights.
    pub(crate) fn new(
        victim: &Frozen,
        images: Tensor<4>,
        goal: &Goal,
        confidence: f64,
        constants: &[f32],
    ) -> Self {
        let pass = victim.input_gradient(images, |logits| {
            let weights = Tensor::<1>::from_data(constants, &logits.device());
            relu(goal.margin(logits).neg() + confidence) * weights
        });
        let margins = values(goal.margin(pass.logits.clone()));
        let losses =
            margins.iter().zip(constants).map(|(m, c)| (confidence as f32 - m).max(0.0) * c).collect();
        let reached = reached_with(goal, pass.logits, confidence);
        Self { losses, reached, gradient: finite_or_zero(pass.gradient) }
    }
}

/// Whether the logits reach the goal by a margin of at least `confidence`.
pub(crate) fn reached_with(goal: &Goal, logits: Tensor<2>, confidence: f64) -> Vec<bool> {
    let margins = values(goal.margin(logits.clone()));
    let far = |margin: f32| confidence == 0.0 || f64::from(margin) >= confidence;
    goal.reached(logits).into_iter().zip(margins).map(|(reached, margin)| reached && far(margin)).collect()
}
