//! Where a walk begins: noise, or a given image.

use super::attack::HopSkipJump;
use super::walks::Walks;
use crate::attack::prelude::*;
use crate::attack::steps::Smallest;

/// Noise images tried before an image is given up, and blends of it with the image, foolbox's numbers.
const DIRECTIONS: u64 = 1000;
const BLENDS: usize = 50;

impl HopSkipJump {
    /// Puts a point that reaches the goal into every walk that finds one: the rows of these.
    pub(super) fn start(&self, walks: &mut Walks<'_>, reserve: usize) -> Result<Vec<usize>, AttackError> {
        let mut ready = self.start_from_images(walks);
        let mut blended = vec![];
        for draw in 0..DIRECTIONS {
            let open = self.affordable(walks, flagged(&ready, false), BLENDS + reserve + 1);
            if open.is_empty() {
                break;
            }
            let task = walks.task.keep(&open);
            let draws = task.draws(Purpose::HOP_SKIP_JUMP, self.seed, &[0, draw]);
            let noise = draws.perturbations(&task.images(), |noise, rng| {
                noise.iter_mut().for_each(|value| *value = rng.random_range(0.0..1.0));
            });
            let reached = walks.go(&open, task.compose(noise))?;
            let reached = open.keep(&flagged(&reached, true));
            reached.iter().for_each(|&row| ready[row] = true);
            blended.extend(reached);
        }
        // The smallest share of noise that is enough; all of it is known to be.
        for blend in 1..BLENDS {
            if blended.is_empty() {
                break;
            }
            let shares = vec![blend as f64 / BLENDS as f64; blended.len()];
            let mixed = walks.keep(&blended).between(Norm::L2, &shares);
            let reached = walks.go(&blended, mixed)?;
            blended = blended.keep(&flagged(&reached, false));
        }
        Ok(flagged(&ready, true))
    }

    /// The nearest of the given images that reaches the goal, for each walk that has one.
    fn start_from_images(&self, walks: &mut Walks<'_>) -> Vec<bool> {
        let Some(starts) = &self.starts.0 else { return vec![false; walks.queries.len()] };
        let task = &walks.task;
        // Under a mask every image makes another start of the same one.
        let same_for_all = (0..task.len()).all(|row| task.free(row).is_none());
        let logits = same_for_all.then(|| task.victim().logits(starts.clone()));
        let mut nearest = Smallest::new(task.images(), self.norm, None);
        for start in 0..self.starts.count() {
            let same = vec![start; task.len()];
            let starts = task.compose(starts.keep(&same));
            let reached = match &logits {
                Some(logits) => task.goal().reached(logits.keep(&same)),
                None => task.reached(&starts),
            };
            nearest.offer(&walks.rows(), &starts, &reached);
        }
        let ready = nearest.sizes(&walks.rows()).into_iter().map(f64::is_finite).collect();
        walks.points = nearest.into_images();
        ready
    }
}
