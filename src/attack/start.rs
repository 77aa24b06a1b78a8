//! Random directions that attacks start in.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use super::Norm;

/// Noise for one image: uniform in \[-1,1) for L-infinity, standard normal for the other norms.
pub(crate) fn noise(norm: Norm, size: usize, rng: &mut impl Rng) -> Vec<f64> {
    let mut draw = || match norm {
        Norm::Linf => rng.random_range(-1.0..1.0),
        _ => StandardNormal.sample(rng),
    };
    (0..size).map(|_| draw()).collect()
}
