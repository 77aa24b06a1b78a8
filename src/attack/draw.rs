//! Random perturbations, one generator an image.

use burn::tensor::{Tensor, TensorData};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Exp1, StandardNormal};
use rayon::prelude::*;

use super::{Goal, Norm};
use crate::random::{Purpose, generator};

/// What an attack's random numbers are for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) purpose: Purpose,
    pub(super) seed: u64,
    /// What tells apart the draws for one image: a restart, a step.
    pub(super) parts: &'a [u64],
}

impl Source<'_> {
    /// The generator of the image with this index.
    pub(super) fn of(&self, index: u64) -> Xoshiro256PlusPlus {
        generator(self.purpose, self.seed, &[&[index], self.parts].concat())
    }

    /// One perturbation an image, from zeros that `fill` writes over.
    pub(super) fn perturbations(
        &self,
        images: &Tensor<4>,
        goal: &Goal,
        fill: impl Fn(&mut [f32], &mut Xoshiro256PlusPlus) + Sync,
    ) -> Tensor<4> {
        let dims = images.dims();
        let size: usize = dims[1..].iter().product();
        let mut values = vec![0f32; dims[0] * size];
        values
            .par_chunks_mut(size.max(1))
            .enumerate()
            .for_each(|(position, image)| fill(image, &mut self.of(goal.index(position))));
        Tensor::from_data(TensorData::new(values, dims), (&images.device(), images.dtype()))
    }
}

/// A point drawn uniformly from the ball of this radius.
///
/// # Panics
///
/// Panics in L0, where no ball is bounded.
pub(super) fn uniform_in_ball(norm: Norm, radius: f64, point: &mut [f32], rng: &mut impl Rng) {
    match norm {
        Norm::Linf => point.iter_mut().for_each(|v| *v = ((rng.random::<f64>() * 2.0 - 1.0) * radius) as f32),
        Norm::L2 => {
            let length = normal(point, rng);
            let scale = radius * rng.random::<f64>().powf(1.0 / point.len() as f64) / length;
            point.iter_mut().for_each(|v| *v = (f64::from(*v) * scale) as f32);
        }
        // Barthe, Guédon, Mendelson & Naor, "A probabilistic approach to the geometry of the l_p^n-ball", 2005.
        Norm::L1 => {
            let mut sum: f64 = Exp1.sample(rng);
            for value in point.iter_mut() {
                let size: f64 = Exp1.sample(rng);
                sum += size;
                *value = if rng.random() { size } else { -size } as f32;
            }
            point.iter_mut().for_each(|v| *v = (f64::from(*v) * radius / sum) as f32);
        }
        Norm::L0 => panic!("L0 has no bounded ball"),
    }
}

/// A direction for one image: uniform in \[-1,1) for L-infinity, standard normal for the other norms.
pub(super) fn direction(norm: Norm, size: usize, rng: &mut impl Rng) -> Vec<f64> {
    let mut draw = || match norm {
        Norm::Linf => rng.random_range(-1.0..1.0),
        _ => StandardNormal.sample(rng),
    };
    (0..size).map(|_| draw()).collect()
}

/// Fills with standard normal numbers; their Euclidean length, above zero.
pub(super) fn normal(point: &mut [f32], rng: &mut impl Rng) -> f64 {
    point.iter_mut().for_each(|v| *v = StandardNormal.sample(rng));
    point.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In n dimensions the share of a ball's volume within the fraction f of its radius is f to the n.
    #[test]
    fn points_fill_the_ball_evenly() {
        for norm in [Norm::Linf, Norm::L2, Norm::L1] {
            for size in [1, 3, 8] {
                let source = Source { purpose: Purpose::Start, seed: 1, parts: &[] };
                let draws = 4000;
                let (mut inside, mut sums) = (0, vec![0.0; size]);
                let half: f64 = 0.5f64.powf(1.0 / size as f64);
                for index in 0..draws {
                    let mut point = vec![0f32; size];
                    uniform_in_ball(norm, 2.0, &mut point, &mut source.of(index));
                    let point: Vec<f64> = point.into_iter().map(f64::from).collect();
                    let length = norm.measure_values(&point);
                    assert!(length <= 2.0 * (1.0 + 1e-6), "{norm}: {length}");
                    inside += usize::from(length <= 2.0 * half);
                    sums.iter_mut().zip(&point).for_each(|(sum, v)| *sum += v / 2.0);
                }
                // Five standard errors of a share of one half, and of means of values in [-1,1].
                let share = inside as f64 / draws as f64;
                assert!((share - 0.5).abs() < 5.0 * 0.5 / (draws as f64).sqrt(), "{norm} {size}: {share}");
                assert!(sums.iter().all(|sum| sum.abs() < 5.0 * (draws as f64).sqrt()), "{norm} {size}");
            }
        }
    }
}
