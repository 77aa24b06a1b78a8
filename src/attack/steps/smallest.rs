//! The search for the smallest perturbation that reaches the goal.

use super::hinge::reached_by;
use crate::attack::prelude::*;

/// The smallest success of each image so far: an image without one within the limit stays as it is.
#[derive(Clone, Debug)]
pub struct Smallest {
    originals: Tensor<4>,
    images: Tensor<4>,
    scores: Vec<f32>,
    norm: Norm,
    limit: f64,
}

impl Smallest {
    /// Nothing found yet for these images; the limit is a budget in this norm.
    pub fn new(originals: Tensor<4>, norm: Norm, limit: Option<Budget>) -> Self {
        let scores = vec![f32::INFINITY; originals.dims()[0]];
        let limit = limit.map_or(f64::INFINITY, Budget::size);
        Self { images: originals.clone(), originals, scores, norm, limit }
    }

    /// Looks for the smallest success of each image that does not reach the goal as it is, by a margin of at least
    /// `confidence`: one query an image, and then `search` for those with their logits, which offers what it finds.
    /// The others come back as they are.
    ///
    /// Images that become grey step by step, until the victim errs, as an attack's `craft`:
    ///
    /// ```
    /// use histoguard::attack::prelude::*;
    /// use histoguard::attack::steps::Smallest;
    ///
    /// fn craft(task: Task<'_>) -> Result<Tensor<4>, AttackError> {
    ///     Smallest::search(&task, (Norm::L2, None), 0.0, |mut task, _, found| {
    ///         for number in 1..=10 {
    ///             task.step()?;
    ///             let grey = task.images() + (task.images().neg() + 0.5) * (f64::from(number) / 10.0);
    ///             let standing = flagged(&found.ask(&task, &grey), false);
    ///             if standing.is_empty() {
    ///                 break;
    ///             }
    ///             task = task.keep(&standing);
    ///         }
    ///         Ok(())
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As `search`.
    pub fn search<'t>(
        task: &Task<'t>,
        (norm, limit): (Norm, Option<Budget>),
        confidence: f64,
        search: impl FnOnce(Task<'t>, Tensor<2>, &mut Self) -> Result<(), AttackError>,
    ) -> Result<Tensor<4>, AttackError> {
        task.go_on()?;
        let mut found = Self::new(task.images(), norm, limit);
        let logits = task.victim().logits(task.images());
        let open = flagged(&reached_by(task.goal(), logits.clone(), confidence), false);
        if !open.is_empty() {
            search(task.afresh().keep(&open), logits.keep(&open), &mut found)?;
        }
        Ok(found.images)
    }

    /// Offers those of these versions of the task's images that reach the goal, by one query each; which do.
    pub fn ask(&mut self, task: &Task<'_>, images: &Tensor<4>) -> Vec<bool> {
        let reached = task.reached(images);
        self.offer(task.positions(), images, &reached);
        reached
    }

    /// Keeps those of `images`, which belong to these positions, that succeed with a smaller norm than before.
    pub fn offer(&mut self, positions: &[usize], images: &Tensor<4>, succeeds: &[bool]) {
        self.offer_scored(positions, images, succeeds, None);
    }

    /// The same by another score than the norm, lower being better; NaN is never kept.
    pub fn offer_scored(
        &mut self,
        positions: &[usize],
        images: &Tensor<4>,
        succeeds: &[bool],
        scores: Option<&[f32]>,
    ) {
        let rows = flagged(succeeds, true);
        if rows.is_empty() {
            return;
        }
        let tried = take(images, &rows);
        let places = positions.to_vec().keep(&rows);
        let norms = values(self.norm.measure(tried.clone() - take(&self.originals, &places)));
        let score = |i: usize| scores.map_or(norms[i], |scores| scores[rows[i]]);
        let better: Vec<usize> = (0..rows.len())
            .filter(|&i| f64::from(norms[i]) <= self.limit && score(i) < self.scores[places[i]])
            .collect();
        if better.is_empty() {
            return;
        }
        better.iter().for_each(|&i| self.scores[places[i]] = score(i));
        self.images = put(self.images.clone(), &places.keep(&better), take(&tried, &better));
    }

    /// The norm (or other score) of the smallest success of these images; infinite for those without one.
    pub fn sizes(&self, positions: &[usize]) -> Vec<f64> {
        positions.iter().map(|&position| f64::from(self.scores[position])).collect()
    }

    /// The smallest success of each image.
    pub fn into_images(self) -> Tensor<4> {
        self.images
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn keeps_the_smallest_success_within_the_limit() {
        let batch =
            |values: [f32; 3]| Tensor::<1>::from_floats(values, &Device::default()).reshape([3, 1, 1, 1]);
        let mut found = Smallest::new(batch([0.5; 3]), Norm::L2, Some(Budget::l2(0.26)));
        found.offer(&[0, 1, 2], &batch([0.75, 0.9, f32::NAN]), &[true; 3]);
        found.offer(&[2, 1, 0], &batch([0.6, 0.6, 0.6]), &[false, true, true]);
        found.offer(&[0, 1, 2], &batch([0.3, 0.3, 0.3]), &[true, true, false]);
        assert_eq!(found.sizes(&[2, 1]), [f64::INFINITY, f64::from(0.6f32 - 0.5)]);
        assert_eq!(values(found.into_images()), [0.6, 0.6, 0.5]);
    }
}
