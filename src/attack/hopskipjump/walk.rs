//! An image on its way along the boundary, and the victim that is asked for labels.

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use crate::attack::{Goal, Norm};
use crate::classifier::Frozen;
use crate::random::{Purpose, generator};

/// Images put to the victim at once, at most, so that memory does not grow with the number of evaluations.
pub(super) const ROWS: usize = 64;

/// An image on its way.
pub(super) struct Walk {
    pub(super) position: usize,
    pub(super) index: u64,
    pub(super) original: Vec<f32>,
    /// Reaches the goal.
    pub(super) point: Vec<f32>,
    pub(super) queries: usize,
}

impl Walk {
    pub(super) fn distance(&self, norm: Norm) -> f64 {
        let change: Vec<f64> = self.point.iter().zip(&self.original).map(|(a, b)| f64::from(a - b)).collect();
        norm.measure_values(&change)
    }

    /// Between the original and the point: the share of the way, in L-infinity of the largest change.
    pub(super) fn towards_point(&self, norm: Norm, share: f64) -> Vec<f32> {
        let bound = (share * self.distance(Norm::Linf)) as f32;
        let share = share as f32;
        let between = |(&point, &original): (&f32, &f32)| match norm {
            Norm::L2 => (1.0 - share) * original + share * point,
            // Not `clamp`, which panics on NaN.
            _ => point.max(original - bound).min(original + bound),
        };
        self.point.iter().zip(&self.original).map(between).collect()
    }

    /// A point near the boundary, for the estimate of the gradient there.
    pub(super) fn nearby(&self, norm: Norm, radius: f32, seed: u64, parts: [u64; 2]) -> Vec<f32> {
        let mut rng = generator(Purpose::HopSkipJump, seed, &[self.index, parts[0], parts[1]]);
        let direction: Vec<f32> = self
            .point
            .iter()
            .map(|_| match norm {
                Norm::L2 => StandardNormal.sample(&mut rng),
                _ => rng.random_range(-1.0..1.0),
            })
            .collect();
        let length = direction.iter().map(|d| f64::from(d * d)).sum::<f64>().sqrt() as f32 + 1e-12;
        self.point.iter().zip(direction).map(|(p, d)| (p + radius * d / length).clamp(0.0, 1.0)).collect()
    }
}

/// Everything that asks the victim for labels.
pub(super) struct Oracle<'a> {
    pub(super) victim: &'a Frozen,
    pub(super) goal: &'a Goal,
    pub(super) shape: [usize; 4],
}

impl Oracle<'_> {
    /// Whether each image reaches the goal of its walk, one query each.
    pub(super) fn reach(&self, walks: &mut [Walk], slots: &[usize], images: &[Vec<f32>]) -> Vec<bool> {
        let [_, channels, height, width] = self.shape;
        slots.iter().for_each(|&slot| walks[slot].queries += 1);
        let chunks = slots.chunks(ROWS).zip(images.chunks(ROWS));
        chunks
            .flat_map(|(slots, images)| {
                let positions: Vec<usize> = slots.iter().map(|&slot| walks[slot].position).collect();
                let data = TensorData::new(images.concat(), [images.len(), channels, height, width]);
                let images = Tensor::<4>::from_data(data, self.victim.device());
                self.goal.select(&positions).reached(self.victim.logits(images))
            })
            .collect()
    }
}
