//! The best adversarial version of each image found so far.

use burn::tensor::Tensor;

use super::Norm;
use super::rows::{put, take, values};
use crate::pixels::Epsilon;

/// For attacks that look for the smallest change: an image without success within the limit stays as it is.
pub(crate) struct Best {
    originals: Tensor<4>,
    images: Tensor<4>,
    scores: Vec<f32>,
    norm: Norm,
    limit: f64,
}

impl Best {
    pub(crate) fn new(originals: Tensor<4>, norm: Norm, limit: Option<Epsilon>) -> Self {
        let scores = vec![f32::INFINITY; originals.dims()[0]];
        let limit = limit.map_or(f64::INFINITY, Epsilon::value);
        Self { images: originals.clone(), originals, scores, norm, limit }
    }

    /// Keeps those of `images`, which belong to these positions, that succeed with a lower norm than before.
    pub(crate) fn offer(&mut self, positions: &[usize], images: &Tensor<4>, succeeds: &[bool]) {
        self.offer_scored(positions, images, succeeds, None);
    }

    /// The same by another score than the norm, lower being better; NaN is never kept.
    pub(crate) fn offer_scored(
        &mut self,
        positions: &[usize],
        images: &Tensor<4>,
        succeeds: &[bool],
        scores: Option<&[f32]>,
    ) {
        let slots: Vec<usize> = (0..positions.len()).filter(|&slot| succeeds[slot]).collect();
        if slots.is_empty() {
            return;
        }
        let tried = take(images, &slots);
        let places: Vec<usize> = slots.iter().map(|&slot| positions[slot]).collect();
        let norms = values(self.norm.measure(tried.clone() - take(&self.originals, &places)));
        let score = |i: usize| scores.map_or(norms[i], |scores| scores[slots[i]]);
        let better: Vec<usize> = (0..slots.len())
            .filter(|&i| f64::from(norms[i]) <= self.limit && score(i) < self.scores[places[i]])
            .collect();
        if better.is_empty() {
            return;
        }
        let kept: Vec<usize> = better.iter().map(|&i| places[i]).collect();
        better.iter().for_each(|&i| self.scores[places[i]] = score(i));
        self.images = put(self.images.clone(), &kept, take(&tried, &better));
    }

    pub(crate) fn into_images(self) -> Tensor<4> {
        self.images
    }
}

/// The positions of the flags that are not set: images for which there is still something to do.
pub(crate) fn unset(flags: &[bool]) -> Vec<usize> {
    (0..flags.len()).filter(|&position| !flags[position]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn keeps_the_smallest_success_within_the_limit() {
        let batch =
            |values: [f32; 3]| Tensor::<1>::from_floats(values, &Device::default()).reshape([3, 1, 1, 1]);
        let mut best = Best::new(batch([0.5; 3]), Norm::L2, Some(Epsilon::unit(0.26)));
        best.offer(&[0, 1, 2], &batch([0.75, 0.9, f32::NAN]), &[true; 3]);
        best.offer(&[2, 1, 0], &batch([0.6, 0.6, 0.6]), &[false, true, true]);
        best.offer(&[0, 1, 2], &batch([0.3, 0.3, 0.3]), &[true, true, false]);
        assert_eq!(values(best.into_images()), [0.6, 0.6, 0.5]);
    }
}
