//! How many positive images a score finds at a price in negative ones.

use crate::pixels::round;

/// The largest share of positive images above a threshold that at most a share `at_most` of the negative ones
/// exceed, of (is positive, score) pairs: the true-positive rate at a false-positive rate. `None` unless
/// there are both positive and negative images, or if a score is NaN.
///
/// ```
/// use histoguard::statistics::true_positive_rate;
///
/// let scored = [(false, 0.1), (true, 0.4), (false, 0.4), (true, 0.9)];
/// assert_eq!(true_positive_rate(&scored, 0.05), Some(0.5));
/// assert_eq!(true_positive_rate(&scored, 0.5), Some(1.0));
/// ```
pub fn true_positive_rate(scored: &[(bool, f64)], at_most: f64) -> Option<f64> {
    let positives = scored.iter().filter(|(positive, _)| *positive).count();
    let negatives = scored.len() - positives;
    if positives == 0 || negatives == 0 || scored.iter().any(|(_, score)| score.is_nan()) {
        return None;
    }
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (mut found, mut price, mut best) = (0, 0, 0);
    for tied in sorted.chunk_by(|a, b| a.1 == b.1) {
        let up = tied.iter().filter(|(positive, _)| *positive).count();
        (found, price) = (found + up, price + tied.len() - up);
        if price as f64 <= at_most * negatives as f64 + 1e-9 {
            best = found;
        }
    }
    Some(round(best as f64 / positives as f64))
}
