//! The pair of features that a Jacobian-based saliency map ranks first.

/// The features p < q with the largest `(a_p + a_q) * (b_p + b_q)` among those whose two sums are positive;
/// the lowest features on a tie. `points` are (feature, a, b).
///
/// Exact without looking at all pairs: the product grows with both sums, so that a point with two others that
/// are at least as good in both coordinates can be replaced in any pair. What is left after one sort, the
/// points with at most one better one, is searched with bounds that end each row early. Memory is linear;
/// time O(n log n) unless most points trade a against b, where the rows left are those that no bound ends.
pub(crate) fn best_pair(mut points: Vec<(usize, f32, f32)>) -> Option<(usize, usize)> {
    points.retain(|(_, a, b)| a.is_finite() && b.is_finite());
    points.sort_unstable_by(|x, y| y.1.total_cmp(&x.1).then(y.2.total_cmp(&x.2)).then(x.0.cmp(&y.0)));
    // The two largest b among the points with a larger a.
    let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    points.retain(|&(_, _, b)| {
        let keep = b > second;
        match (b > first, keep) {
            (true, _) => (first, second) = (b, first),
            (false, true) => second = b,
            (false, false) => {}
        }
        keep
    });
    let wide: Vec<(usize, f64, f64)> =
        points.into_iter().map(|(feature, a, b)| (feature, f64::from(a), f64::from(b))).collect();
    let largest = wide.iter().fold(f64::NEG_INFINITY, |most, point| most.max(point.2));
    let mut best: Option<(f64, (usize, usize))> = None;
    for (i, &(p, a, b)) in wide.iter().enumerate() {
        for &(q, other_a, other_b) in &wide[i + 1..] {
            let most = best.map_or(0.0, |(saliency, _)| saliency);
            // Sorted by a: no later partner gets past this either.
            if a + other_a <= 0.0 || (a + other_a) * (b + largest) < most {
                break;
            }
            let saliency = (a + other_a) * (b + other_b);
            let pair = (p.min(q), p.max(q));
            let better = best.is_none_or(|(most, old)| saliency > most || (saliency == most && pair < old));
            if b + other_b > 0.0 && saliency > 0.0 && better {
                best = Some((saliency, pair));
            }
        }
    }
    best.map(|(_, pair)| pair)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Equation 10 of Papernot et al. over all pairs.
    fn over_all_pairs(points: &[(usize, f32, f32)]) -> Option<(f64, (usize, usize))> {
        let mut best = None;
        for &(p, a, b) in points {
            for &(q, c, d) in points.iter().filter(|(q, ..)| *q > p) {
                let (x, y) = (f64::from(a) + f64::from(c), f64::from(b) + f64::from(d));
                if x > 0.0 && y > 0.0 && best.is_none_or(|(most, _)| x * y > most) {
                    best = Some((x * y, (p, q)));
                }
            }
        }
        best
    }

    proptest! {
        /// Random, on a coarse grid full of ties, and along a front where a trades against b.
        #[test]
        fn finds_what_a_search_over_all_pairs_finds(
            values in prop::collection::vec((-1f32..1.0, -1f32..1.0), 0..60), kind in 0..3
        ) {
            let points: Vec<(usize, f32, f32)> = values.into_iter().enumerate().map(|(i, (a, b))| match kind {
                0 => (i, a, b),
                1 => (i, (a * 3.0).round(), (b * 3.0).round()),
                _ => (i, a, -a + b * 0.01),
            }).collect();
            prop_assert_eq!(best_pair(points.clone()), over_all_pairs(&points).map(|(_, pair)| pair));
        }
    }

    #[test]
    fn needs_two_features_that_agree() {
        assert_eq!(best_pair(vec![(3, 1.0, 1.0)]), None);
        assert_eq!(best_pair(vec![(0, 1.0, -2.0), (1, -2.0, 1.0)]), None);
        assert_eq!(best_pair(vec![(0, f32::NAN, 1.0), (1, 1.0, 1.0), (2, 0.5, 0.5)]), Some((1, 2)));
    }
}
