//! The worst case of each image over several tries.

use burn::tensor::Tensor;

use super::Goal;
use super::rows::{put, take, values};
use crate::classifier::Frozen;

/// The candidate of each image that went furthest: one that reaches the goal before one that does not, then the
/// one with the larger margin, then the earlier one.
pub(super) struct Worst {
    images: Tensor<4>,
    scores: Vec<(bool, f32)>,
}

impl Worst {
    /// No candidate yet: the images themselves.
    pub(super) fn new(images: Tensor<4>) -> Self {
        let scores = vec![(false, f32::NEG_INFINITY); images.dims()[0]];
        Self { images, scores }
    }

    /// The images for which no candidate has reached the goal.
    pub(super) fn standing(&self) -> Vec<usize> {
        (0..self.scores.len()).filter(|&i| !self.scores[i].0).collect()
    }

    /// Judges candidates for the images at these positions by one forward pass; `goal` is that of the
    /// candidates.
    pub(super) fn offer(&mut self, victim: &Frozen, positions: &[usize], candidates: Tensor<4>, goal: &Goal) {
        let logits = victim.logits(candidates.clone());
        let margins = values(goal.margin(logits.clone()));
        let scores: Vec<(bool, f32)> = goal.reached(logits).into_iter().zip(margins).collect();
        let better: Vec<usize> =
            (0..positions.len()).filter(|&i| scores[i] > self.scores[positions[i]]).collect();
        if better.is_empty() {
            return;
        }
        let places: Vec<usize> = better.iter().map(|&i| positions[i]).collect();
        places.iter().zip(&better).for_each(|(&place, &i)| self.scores[place] = scores[i]);
        let images = std::mem::replace(&mut self.images, candidates.clone());
        self.images = put(images, &places, take(&candidates, &better));
    }

    pub(super) fn into_images(self) -> Tensor<4> {
        self.images
    }
}
