//! Images on their way along the boundary.

use crate::attack::prelude::*;
use crate::attack::steps::Smallest;

/// Images put to the victim at once, at most, so that memory does not grow with the number of evaluations.
pub(super) const AT_ONCE: usize = 64;

crate::rows! {
    /// Images on their way along the boundary.
    pub(super) struct Walks<'a> {
        pub(super) task: Task<'a>,
        /// Each reaches the goal, once it has started.
        pub(super) points: Tensor<4>,
        /// Labels asked for so far.
        pub(super) queries: Vec<usize>,
    }
}

impl Walks<'_> {
    pub(super) fn rows(&self) -> Vec<usize> {
        (0..self.task.len()).collect()
    }

    /// Whether each of these images reaches the goal of its walk: a label each.
    pub(super) fn ask(&mut self, rows: &[usize], images: &Tensor<4>) -> Result<Vec<bool>, AttackError> {
        let mut reached = vec![];
        for (rows, images) in rows.chunks(AT_ONCE).zip(images.clone().split(AT_ONCE, 0)) {
            self.task.go_on()?;
            rows.iter().for_each(|&row| self.queries[row] += 1);
            let logits = self.task.victim().logits(images);
            reached.extend(self.task.goal().select(rows).reached(logits));
        }
        Ok(reached)
    }

    /// The same, and these walks go to those images that do.
    pub(super) fn go(&mut self, rows: &[usize], images: Tensor<4>) -> Result<Vec<bool>, AttackError> {
        let reached = self.ask(rows, &images)?;
        let points = choose(&reached, images, self.points.keep(rows));
        self.points = put(self.points.clone(), rows, points);
        Ok(reached)
    }

    /// Offers the points as perturbations that succeed.
    pub(super) fn offer(&self, found: &mut Smallest) {
        found.offer(self.task.positions(), &self.points, &vec![true; self.task.len()]);
    }

    pub(super) fn distances(&self, norm: Norm) -> Vec<f64> {
        let change = values(self.points.clone() - self.task.images());
        let change: Vec<f64> = change.into_iter().map(f64::from).collect();
        change.chunks(self.task.size()).map(|change| norm.measure_values(change)).collect()
    }

    /// Between the images (0) and the points (1): so far on the way, in L-infinity by the largest change.
    pub(super) fn between(&self, norm: Norm, shares: &[f64]) -> Tensor<4> {
        let (images, points) = (self.task.images(), self.points.clone());
        let between = match norm {
            Norm::L2 => {
                let shares = factors(shares, &images);
                images * (shares.clone().neg() + 1.0) + points * shares
            }
            _ => {
                let bounds = self.distances(Norm::Linf).into_iter().zip(shares);
                let bounds: Vec<f64> = bounds.map(|(distance, share)| share * distance).collect();
                let bounds = factors(&bounds, &images);
                points.max_pair(images.clone() - bounds.clone()).min_pair(images + bounds)
            }
        };
        // A blend of equal values can be off by a rounding.
        self.task.compose(between)
    }
}
