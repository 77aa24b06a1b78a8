//! The exact projection onto the part of an L1 ball that lies in the \[0,1\] box.

/// Rounding that the length of a projected change may have, relative to epsilon.
const PRECISION: f64 = 1e-10;
/// A bound on the search: halving alone reaches the precision of a double before.
const ROUNDS: usize = 200;

/// The nearest change, in the Euclidean sense, with `|change|_1 <= epsilon` and `0 <= image + change <= 1`,
/// for one image in \[0,1\] (Croce & Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image
/// classifiers", ICML 2021, proposition 2.1).
///
/// The solution is `sign(c) * clip(|c| - t, 0, room)` with the smallest threshold `t >= 0` of length epsilon;
/// Newton's method in a bracket finds it, exact once it is on the right piece of that piecewise linear length.
pub fn project_l1_in_box(image: &[f32], change: &mut [f64], epsilon: f64) {
    let pairs: Vec<(f64, f64)> = change.iter().zip(image).map(|(&c, &x)| (c.abs(), room(x, c))).collect();
    let threshold = threshold(&pairs, epsilon);
    for (c, (size, room)) in change.iter_mut().zip(pairs) {
        *c = c.signum() * (size - threshold).clamp(0.0, room);
    }
}

/// How far a pixel can go in the direction of `change`.
fn room(pixel: f32, change: f64) -> f64 {
    let room = if change > 0.0 { 1.0 - f64::from(pixel) } else { f64::from(pixel) };
    // NaN becomes zero.
    room.max(0.0)
}

fn threshold(pairs: &[(f64, f64)], epsilon: f64) -> f64 {
    let (mut low, mut high) = (0.0, pairs.iter().fold(0.0, |most: f64, (size, _)| most.max(*size)));
    let mut threshold = 0.0;
    for _ in 0..ROUNDS {
        let (mut length, mut moving) = (0.0, 0.0);
        for (size, room) in pairs {
            let left = (size - threshold).max(0.0);
            length += left.min(*room);
            moving += f64::from(u8::from(left > 0.0 && left < *room));
        }
        let excess = length - epsilon;
        if excess.abs() <= PRECISION * epsilon || threshold == 0.0 && excess <= 0.0 {
            break;
        }
        if excess > 0.0 {
            low = threshold
        } else {
            high = threshold
        }
        let newton = threshold + excess / moving;
        threshold = if low < newton && newton < high { newton } else { 0.5 * (low + high) };
    }
    threshold
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::Norm;
    use proptest::prelude::*;

    fn projected(image: &[f32], change: &[f64], epsilon: f64) -> Vec<f64> {
        let mut change = change.to_vec();
        project_l1_in_box(image, &mut change, epsilon);
        change
    }

    #[test]
    fn projections_by_hand() {
        let close = |found: Vec<f64>, expected: &[f64]| {
            assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-9), "{found:?}");
        };
        // Within both: unchanged. In the ball after the box alone: cut off only.
        close(projected(&[0.5, 0.5], &[0.25, -0.125], 1.0), &[0.25, -0.125]);
        close(projected(&[0.75, 0.5], &[3.0, 0.25], 1.0), &[0.25, 0.25]);
        // Thresholds 1 (0.25 is the room of the first, 2 - 1 of the others) and 0.25.
        close(projected(&[0.75, 0.0, 1.0], &[3.0, 2.0, -2.0], 2.25), &[0.25, 1.0, -1.0]);
        close(projected(&[0.5, 0.5], &[0.5, -0.5], 0.5), &[0.25, -0.25]);
        close(projected(&[0.5, 0.5], &[0.5, -0.5], 0.0), &[0.0, 0.0]);
        // Where the box leaves all the room, the plain projection onto the ball.
        let wild = [0.3, -0.2, 0.45, 0.0, -0.01];
        let mut ball = wild;
        Norm::L1.project_values(&mut ball, 0.4);
        close(projected(&[0.5; 5], &wild, 0.4), &ball);
    }

    proptest! {
        /// A point is the nearest of a convex set if no other one lies beyond the plane through it.
        #[test]
        fn the_result_is_the_nearest_point_of_ball_and_box(
            pixels in prop::collection::vec((0f32..=1.0, -2f64..2.0, 0f64..=1.0), 1..60),
            epsilon in 0.01f64..5.0,
        ) {
            let image: Vec<f32> = pixels.iter().map(|p| p.0).collect();
            let wild: Vec<f64> = pixels.iter().map(|p| p.1).collect();
            let near = projected(&image, &wild, epsilon);
            prop_assert!(Norm::L1.measure_values(&near) <= epsilon * 1.00001);
            for (x, n) in image.iter().zip(&near) {
                prop_assert!((-1e-12..=1.0 + 1e-12).contains(&(f64::from(*x) + n)));
            }
            let mut other: Vec<f64> = pixels.iter().map(|p| p.2 - f64::from(p.0)).collect();
            let shrink = (epsilon / Norm::L1.measure_values(&other).max(1e-9)).min(1.0);
            other.iter_mut().for_each(|o| *o *= shrink);
            let beyond: f64 = (0..near.len()).map(|i| (wild[i] - near[i]) * (other[i] - near[i])).sum();
            prop_assert!(beyond <= 1e-6, "{beyond}");
            let again = projected(&image, &near, epsilon);
            prop_assert!(again.iter().zip(&near).all(|(a, n)| (a - n).abs() < 1e-6));
        }
    }
}
