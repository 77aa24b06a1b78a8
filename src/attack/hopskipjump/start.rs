//! Where a walk begins: noise, or a given image.

use burn::tensor::Tensor;
use rand::RngExt;
use rayon::prelude::*;

use super::HopSkipJump;
use super::walk::{Oracle, Walk};
use crate::attack::Norm;
use crate::attack::rows::values;
use crate::classifier::predictions;
use crate::random::{Purpose, generator};

/// Noise images tried before an image is given up, and blends of it with the image, foolbox's numbers.
const DIRECTIONS: usize = 1000;
const BLENDS: usize = 50;

impl HopSkipJump {
    /// Puts a point that reaches the goal into every walk that finds one; false for the others.
    pub(super) fn start(&self, oracle: &Oracle, walks: &mut [Walk], reserve: usize) -> Vec<bool> {
        let mut ready = vec![false; walks.len()];
        if let Some(starts) = &self.starts {
            self.start_from(oracle, starts, walks, &mut ready);
        }
        let left = |walk: &Walk| self.queries.unwrap_or(usize::MAX).saturating_sub(walk.queries);
        let mut blended = vec![];
        for draw in 0..DIRECTIONS as u64 {
            let open = |&slot: &usize| !ready[slot] && left(&walks[slot]) > BLENDS + reserve;
            let slots: Vec<usize> = (0..walks.len()).filter(open).collect();
            if slots.is_empty() {
                break;
            }
            let noise: Vec<Vec<f32>> = slots
                .par_iter()
                .map(|&slot| {
                    let walk = &walks[slot];
                    let mut rng = generator(Purpose::HopSkipJump, self.seed, &[walk.index, 0, draw]);
                    walk.original.iter().map(|_| rng.random_range(0.0..1.0)).collect()
                })
                .collect();
            let reached = oracle.reach(walks, &slots, &noise);
            for ((slot, noise), _) in
                slots.into_iter().zip(noise).zip(reached).filter(|(_, reached)| *reached)
            {
                (walks[slot].point, ready[slot]) = (noise, true);
                blended.push(slot);
            }
        }
        // The smallest share of noise that is enough; all of it is known to be.
        for blend in 1..BLENDS {
            let images: Vec<Vec<f32>> = blended
                .iter()
                .map(|&slot| walks[slot].towards_point(Norm::L2, blend as f64 / BLENDS as f64))
                .collect();
            let reached = oracle.reach(walks, &blended, &images);
            let found: Vec<(usize, Vec<f32>)> = blended
                .iter()
                .copied()
                .zip(images)
                .zip(&reached)
                .filter(|(_, r)| **r)
                .map(|(f, _)| f)
                .collect();
            found.into_iter().for_each(|(slot, image)| walks[slot].point = image);
            blended = blended.into_iter().zip(reached).filter(|(_, r)| !r).map(|(slot, _)| slot).collect();
            if blended.is_empty() {
                break;
            }
        }
        ready
    }

    /// The nearest of the given images that reaches the goal.
    fn start_from(&self, oracle: &Oracle, starts: &Tensor<4>, walks: &mut [Walk], ready: &mut [bool]) {
        let size = oracle.shape[1..].iter().product();
        let classes = predictions(oracle.victim.logits(starts.clone()));
        let starts = values(starts.clone());
        for (walk, ready) in walks.iter_mut().zip(ready) {
            let class = oracle.goal.classes()[walk.position];
            let mut nearest = f64::INFINITY;
            for (start, &found) in starts.chunks(size).zip(&classes) {
                if (found as i64 == class) != oracle.goal.is_targeted() {
                    continue;
                }
                let before = std::mem::replace(&mut walk.point, start.to_vec());
                let distance = walk.distance(self.norm);
                match distance < nearest {
                    true => (nearest, *ready) = (distance, true),
                    false => walk.point = before,
                }
            }
        }
    }
}
