//! A covariance that can be inverted from fewer images than features.

use nalgebra::DMatrix;

/// A covariance pulled towards a multiple of the identity.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrunk {
    /// Row by row, `dimension` squared numbers; symmetric.
    pub covariance: Vec<f64>,
    /// The share of the identity's multiple, from 0 to 1.
    pub shrinkage: f64,
}

/// The covariance `(1 - s) S + s tr(S)/d I` of `rows`, samples of `dimension` numbers whose mean is already
/// taken away, with `S` their mean outer product and the share `s` given, or else the one that Ledoit and
/// Wolf estimate.
///
/// Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
/// Multivariate Analysis 88, 2004, lemma 3.3 ff.; scikit-learn's `LedoitWolf(assume_centered=True)`.
///
/// ```
/// use histoguard::defense::detector::ledoit_wolf;
///
/// let shrunk = ledoit_wolf(&[1.0, 0.0, -1.0, 0.0], 2, Some(0.5));
/// assert_eq!(shrunk.covariance, [0.75, 0.0, 0.0, 0.25]);
/// ```
///
/// # Panics
///
/// Panics if `dimension` is zero, or if `rows` are none or no whole samples.
pub fn ledoit_wolf(rows: &[f64], dimension: usize, shrinkage: Option<f64>) -> Shrunk {
    assert!(
        dimension > 0 && !rows.is_empty() && rows.len().is_multiple_of(dimension),
        "whole samples, one at least"
    );
    let (count, d) = (rows.len() / dimension, dimension as f64);
    let n = count as f64;
    let samples = DMatrix::from_row_slice(count, dimension, rows);
    let empirical = samples.tr_mul(&samples) / n;
    let mean = empirical.trace() / d;
    let estimate = || {
        let lengths = rows.chunks(dimension).map(|row| row.iter().map(|value| value * value).sum::<f64>());
        let fourth: f64 = lengths.map(|length| length * length).sum();
        let squares = empirical.norm_squared();
        let spread = (squares / d - mean * mean).max(0.0);
        let noise = ((fourth / n - squares) / (d * n)).min(spread);
        if noise > 0.0 { noise / spread } else { 0.0 }
    };
    let shrinkage = shrinkage.unwrap_or_else(estimate);
    let mut covariance = empirical * (1.0 - shrinkage);
    (0..dimension).for_each(|i| covariance[(i, i)] += shrinkage * mean);
    Shrunk { covariance: covariance.as_slice().to_vec(), shrinkage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_features_by_hand() {
        // S = [[3, 2], [2, 3]] / 4: tr/d = 0.75, |S|^2 = 1.625, spread 1.625/2 - 0.75^2 = 0.25. The lengths
        // squared are 2, 1, 2, 1, their squares 2.5 in the mean: noise (2.5 - 1.625) / 8, share 0.4375.
        let rows = [1.0, 1.0, 1.0, 0.0, -1.0, -1.0, 0.0, 1.0];
        let found = ledoit_wolf(&rows, 2, None);
        assert!((found.shrinkage - 0.4375).abs() < 1e-12, "{found:?}");
        for (found, expected) in found.covariance.iter().zip([0.75, 0.28125, 0.28125, 0.75]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }
}
