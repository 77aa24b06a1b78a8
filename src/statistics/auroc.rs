//! How well a score ranks positive before negative.

use crate::pixels::round;

/// Area under the receiver operating characteristic of (is positive, score) pairs: the probability that a
/// positive image scores higher than a negative one, ties counting half (Hanley & McNeil, Radiology 143,
/// 1982). `None` unless there are both positive and negative images, or if a score is NaN.
///
/// ```
/// use histoguard::statistics::auroc;
///
/// assert_eq!(auroc(&[(false, 0.1), (true, 0.4), (false, 0.4), (true, 0.9)]), Some(0.875));
/// ```
pub fn auroc(scored: &[(bool, f64)]) -> Option<f64> {
    let positives = scored.iter().filter(|(positive, _)| *positive).count();
    let negatives = scored.len() - positives;
    if positives == 0 || negatives == 0 || scored.iter().any(|(_, score)| score.is_nan()) {
        return None;
    }
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (mut wins, mut below) = (0.0, 0usize);
    for tied in sorted.chunk_by(|a, b| a.1 == b.1) {
        let up = tied.iter().filter(|(positive, _)| *positive).count();
        let down = tied.len() - up;
        wins += up as f64 * (below as f64 + down as f64 / 2.0);
        below += down;
    }
    Some(round(wins / (positives as f64 * negatives as f64)))
}
