//! Random points and directions in the balls of the norms.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, Exp1, StandardNormal};

use super::norm::Norm;

/// A point drawn uniformly from the ball of this radius.
///
/// # Panics
///
/// Panics in L0, where no ball is bounded.
pub fn uniform_in_ball(norm: Norm, radius: f64, point: &mut [f32], rng: &mut impl Rng) {
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
pub fn direction(norm: Norm, size: usize, rng: &mut impl Rng) -> Vec<f64> {
    let mut draw = || match norm {
        Norm::Linf => rng.random_range(-1.0..1.0),
        _ => StandardNormal.sample(rng),
    };
    (0..size).map(|_| draw()).collect()
}

/// Fills with standard normal numbers; their Euclidean length, above zero.
pub fn normal(point: &mut [f32], rng: &mut impl Rng) -> f64 {
    point.iter_mut().for_each(|v| *v = StandardNormal.sample(rng));
    point.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};

    /// In n dimensions the share of a ball's volume within the fraction f of its radius is f to the n.
    #[test]
    fn points_fill_the_ball_evenly() {
        for norm in [Norm::Linf, Norm::L2, Norm::L1] {
            for size in [1, 3, 8] {
                let draws = 4000;
                let (mut inside, mut sums) = (0, vec![0.0; size]);
                let half: f64 = 0.5f64.powf(1.0 / size as f64);
                for index in 0..draws {
                    let mut point = vec![0f32; size];
                    uniform_in_ball(norm, 2.0, &mut point, &mut generator(Purpose::START, 1, &[index]));
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
