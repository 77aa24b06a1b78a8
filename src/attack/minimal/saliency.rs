//! The pair of features that a Jacobian-based saliency map ranks first.

/// Points that share one bound.
const BLOCK: usize = 128;

/// A product, and the two features that it is of.
type Found = (f64, (usize, usize));

/// The features p < q with the largest `(a_p + a_q) * (b_p + b_q)` among those whose two sums are positive;
/// the lowest features on a tie. `points` are (feature, a, b).
///
/// Exact without looking at all pairs: the product grows with both sums, so that a point with two others that
/// are at least as good in both coordinates can be replaced in any pair. One sort leaves the points with at
/// most one better one, a handful unless a and b trade off; blocks of them are compared by the largest
/// product that two blocks could have, and searched where that is not below what is known. Memory is linear
/// in the number of points.
pub(crate) fn best_pair(mut points: Vec<(usize, f32, f32)>) -> Option<(usize, usize)> {
    points.retain(|(_, a, b)| a.is_finite() && b.is_finite());
    // The order below has zeros of either sign apart, and would not see their tie.
    for (_, a, b) in &mut points {
        (*a, *b) = (*a + 0.0, *b + 0.0);
    }
    points.sort_unstable_by(|x, y| y.1.total_cmp(&x.1).then(y.2.total_cmp(&x.2)).then(x.0.cmp(&y.0)));
    // The two largest b among the points with a larger a.
    let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    points.retain(|&(_, _, b)| {
        let keep = b > second;
        if b > first {
            (first, second) = (b, first);
        } else if keep {
            second = b;
        }
        keep
    });
    let wide: Vec<(usize, f64, f64)> =
        points.into_iter().map(|(feature, a, b)| (feature, f64::from(a), f64::from(b))).collect();
    let most = |block: &[(usize, f64, f64)], value: fn(&(usize, f64, f64)) -> f64| {
        block.iter().map(value).fold(f64::NEG_INFINITY, f64::max)
    };
    let blocks: Vec<_> = wide.chunks(BLOCK).map(|b| (b, most(b, |p| p.1), most(b, |p| p.2))).collect();
    let mut best: Option<Found> = None;
    for (row, &(ours, a, b)) in blocks.iter().enumerate() {
        for (column, &(theirs, other_a, other_b)) in blocks.iter().enumerate().skip(row) {
            let (sum_a, sum_b) = (a + other_a, b + other_b);
            if sum_a <= 0.0 || sum_b <= 0.0 || best.is_some_and(|(most, _)| sum_a * sum_b < most) {
                continue;
            }
            for (i, &(p, a, b)) in ours.iter().enumerate() {
                let partners = if column == row { &theirs[i + 1..] } else { theirs };
                for &(q, other_a, other_b) in partners {
                    let (sum_a, sum_b) = (a + other_a, b + other_b);
                    let found = (sum_a * sum_b, (p.min(q), p.max(q)));
                    let better = |old: Found| found.0 > old.0 || (found.0 == old.0 && found.1 < old.1);
                    if sum_a > 0.0 && sum_b > 0.0 && best.is_none_or(better) {
                        best = Some(found);
                    }
                }
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
            values in prop::collection::vec((-1f32..1.0, -1f32..1.0), 0..400), kind in 0..3
        ) {
            let points: Vec<(usize, f32, f32)> = values.into_iter().enumerate().map(|(i, (a, b))| match kind {
                0 => (i, a, b),
                1 => (i, (a * 3.0).round(), (b * 3.0).round()),
                _ => (i, a, -a + b * 0.05),
            }).collect();
            prop_assert_eq!(best_pair(points.clone()), over_all_pairs(&points).map(|(_, pair)| pair));
        }
    }

    #[test]
    fn needs_two_features_that_agree() {
        assert_eq!(best_pair(vec![(3, 1.0, 1.0)]), None);
        assert_eq!(best_pair(vec![(0, 1.0, -2.0), (1, -2.0, 1.0)]), None);
        assert_eq!(best_pair(vec![(0, 2.0, 2.0), (1, -0.0, 2.0), (2, 0.0, 2.0)]), Some((0, 1)));
        assert_eq!(best_pair(vec![(0, f32::NAN, 1.0), (1, 1.0, 1.0), (2, 0.5, 0.5)]), Some((1, 2)));
    }
}
