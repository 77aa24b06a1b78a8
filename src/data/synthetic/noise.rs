//! Smooth random fields.

use crate::random::split_mix;

/// Value noise: random values on the points of a grid, smoothly interpolated, in \[0,1\].
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    seed: u64,
}

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The field at a point; it changes over a distance of about 1.
    pub(super) fn at(self, x: f32, y: f32) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let (fx, fy) = (smooth(x - left), smooth(y - top));
        let (column, row) = (left as i64, top as i64);
        let upper = mix(self.point(column, row), self.point(column + 1, row), fx);
        let lower = mix(self.point(column, row + 1), self.point(column + 1, row + 1), fx);
        mix(upper, lower, fy)
    }

    /// Three octaves, in \[0,1\].
    pub(super) fn rough(self, x: f32, y: f32) -> f32 {
        let octave = |k: u64, scale: f32| Self::new(self.seed.wrapping_add(k)).at(x * scale, y * scale);
        (octave(0, 1.0) + 0.5 * octave(1, 2.1) + 0.25 * octave(2, 4.3)) / 1.75
    }

    fn point(self, column: i64, row: i64) -> f32 {
        let key =
            (column as u64).wrapping_mul(0x9e37_79b1).wrapping_add((row as u64).wrapping_mul(0x85eb_ca77));
        (split_mix(self.seed ^ key.rotate_left(17)) >> 40) as f32 / (1_u64 << 24) as f32
    }
}

/// From 0 at or below `low` to 1 at or above `high`, without corners.
pub(super) fn smooth_step(low: f32, high: f32, value: f32) -> f32 {
    smooth(((value - low) / (high - low)).clamp(0.0, 1.0))
}

/// `a` at 0, `b` at 1.
pub(super) fn mix(a: f32, b: f32, share: f32) -> f32 {
    a + (b - a) * share
}

fn smooth(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_smooth_and_uses_its_range() {
        let noise = Noise::new(7);
        let (mut low, mut high) = (1.0_f32, 0.0_f32);
        for step in 0..20_000 {
            let (x, y) = (step as f32 * 0.013 - 50.0, step as f32 * 0.007 - 20.0);
            let value = noise.at(x, y);
            assert!((value - noise.at(x + 0.001, y)).abs() < 0.003);
            (low, high) = (low.min(value), high.max(value));
        }
        assert!(low < 0.1 && high > 0.9 && low >= 0.0 && high <= 1.0, "{low} {high}");
    }
}
