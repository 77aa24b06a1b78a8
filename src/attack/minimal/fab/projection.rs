//! The nearest point of a hyperplane within the \[0,1\] box.

use crate::attack::prelude::*;

/// The smallest `d` in this norm with `<normal, d> = -excess` and `0 <= point + d <= 1`, for one image; if the box
/// does not reach that far, the corner that comes nearest to it (Croce & Hein 2020, equations 6 to 8).
///
/// `excess` is how far the point lies past the hyperplane: `<normal, point> - b`.
///
/// # Panics
///
/// Panics if the norm is L0.
pub(super) fn project(norm: Norm, point: &[f32], normal: &[f32], excess: f64) -> Vec<f64> {
    let sign = if excess < 0.0 { -1.0 } else { 1.0 };
    let moves: Vec<Move> =
        point.iter().zip(normal).map(|(&x, &w)| Move::of(x, sign * f64::from(w))).collect();
    match norm {
        Norm::Linf => fill(&moves, excess.abs(), |_| 1.0),
        Norm::L2 => fill(&moves, excess.abs(), |m| m.weight.abs()),
        Norm::L1 => steepest(&moves, excess.abs()),
        Norm::L0 => unreachable!("refused before"),
    }
}

/// How a pixel can move: against its weight, by at most its room.
struct Move {
    weight: f64,
    room: f64,
}

impl Move {
    fn of(pixel: f32, weight: f64) -> Self {
        let room = if weight > 0.0 { f64::from(pixel) } else { 1.0 - f64::from(pixel) };
        // A NaN has no room.
        Self { weight, room: if weight == 0.0 { 0.0 } else { room.max(0.0) } }
    }
}

/// Moves every pixel by the same `level` times its `speed`, until its room ends: the optimum in L-infinity and L2.
///
/// The gain is concave in the level, so that Newton's method climbs to the solution from below and is exact
/// on the last piece.
fn fill(moves: &[Move], needed: f64, speed: impl Fn(&Move) -> f64) -> Vec<f64> {
    // The gain for a unit of level, and the level at which the room ends.
    let rate = |m: &Move| (m.weight.abs() * speed(m), m.room / speed(m).max(f64::MIN_POSITIVE));
    let mut level = 0.0;
    loop {
        let (mut gain, mut slope) = (0.0, 0.0);
        for (rate, end) in moves.iter().map(&rate) {
            gain += rate * end.min(level);
            slope += if end > level { rate } else { 0.0 };
        }
        let next = level + (needed - gain) / slope;
        if slope > 0.0 && next > level {
            level = next;
        } else {
            break;
        }
    }
    moves.iter().map(|m| -m.weight.signum() * level.min(rate(m).1).min(f64::MAX) * speed(m)).collect()
}

/// Uses up the room of the pixels with the largest weights, one after another: the optimum in L1.
fn steepest(moves: &[Move], mut needed: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..moves.len()).filter(|&i| moves[i].room > 0.0).collect();
    order.sort_unstable_by(|&a, &b| moves[b].weight.abs().total_cmp(&moves[a].weight.abs()).then(a.cmp(&b)));
    let mut change = vec![0.0; moves.len()];
    for i in order {
        let Move { weight, room } = moves[i];
        let step = room.min(needed / weight.abs());
        change[i] = -weight.signum() * step;
        needed -= step * weight.abs();
        if step < room {
            break;
        }
    }
    change
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(found: Vec<f64>, expected: &[f64]) {
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-9), "{found:?}, not {expected:?}");
    }

    #[test]
    fn projections_by_hand() {
        let point = [0.5, 0.5, 0.25];
        // Without the box in the way: along the sign, along the normal, along the largest weight.
        close(project(Norm::Linf, &point, &[1.0, -2.0, 1.0], 0.4), &[-0.1, 0.1, -0.1]);
        close(project(Norm::L2, &point, &[1.0, -2.0, 0.0], 0.5), &[-0.1, 0.2, 0.0]);
        close(project(Norm::L1, &point, &[1.0, -2.0, 1.0], -0.4), &[0.0, -0.2, 0.0]);
        // The third pixel stops at 0 after 0.25; the others share the rest: (1.75 - 0.25) / 3 each.
        close(project(Norm::Linf, &point, &[1.0, -2.0, 1.0], 1.75), &[-0.5, 0.5, -0.25]);
        // L1 uses up the second, then the first.
        close(project(Norm::L1, &point, &[1.5, -2.0, 1.0], 1.3), &[-0.2, 0.5, 0.0]);
        // Out of reach: the corner. No normal: no move.
        for norm in [Norm::Linf, Norm::L2, Norm::L1] {
            close(project(norm, &point, &[1.0, -2.0, 1.0], 9.0), &[-0.5, 0.5, -0.25]);
            close(project(norm, &point, &[0.0; 3], 9.0), &[0.0; 3]);
        }
    }

    proptest! {
        /// On the hyperplane, in the box, and no other such point is nearer.
        #[test]
        fn the_result_is_the_nearest_point_of_plane_and_box(
            pixels in prop::collection::vec((0f32..=1.0, -3f32..3.0, 0f64..=1.0), 2..40),
            share in 0.05f64..0.95,
        ) {
            let point: Vec<f32> = pixels.iter().map(|p| p.0).collect();
            let normal: Vec<f32> = pixels.iter().map(|p| p.1).collect();
            prop_assume!(normal.iter().any(|w| w.abs() > 0.1));
            let along = |d: &[f64]| d.iter().zip(&normal).map(|(d, w)| d * f64::from(*w)).sum::<f64>();
            let far = along(&project(Norm::L1, &point, &normal, 1e9));
            prop_assume!(far < -1e-3);
            let excess = -far * share;
            for norm in [Norm::Linf, Norm::L2, Norm::L1] {
                let near = project(norm, &point, &normal, excess);
                prop_assert!((along(&near) + excess).abs() < 1e-9 * excess.max(1.0), "{norm}");
                for (x, d) in point.iter().zip(&near) {
                    prop_assert!((-1e-9..=1.0 + 1e-9).contains(&(f64::from(*x) + d)), "{norm}");
                }
                // Another point of the plane: any point of the box, pulled along the way to the corner or back.
                let other: Vec<f64> = pixels.iter().map(|p| p.2 - f64::from(p.0)).collect();
                let corner = project(Norm::L1, &point, &normal, 1e9);
                let (from, to) = if along(&other) > -excess { (other, corner) } else { (vec![0.0; point.len()], other) };
                let mix = (-excess - along(&from)) / (along(&to) - along(&from));
                let other: Vec<f64> = from.iter().zip(&to).map(|(f, t)| f + mix * (t - f)).collect();
                prop_assert!(norm.measure_values(&near) <= norm.measure_values(&other) + 1e-9, "{norm}");
            }
        }
    }
}
