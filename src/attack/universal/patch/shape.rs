//! The outline of a patch.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// The outline of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchShape {
    /// A disc with a soft edge, `1 - min(1, (u^2 + v^2)^40)` with u and v from -1 to 1 (IBM ART).
    Circle,
    /// The whole square.
    Square,
}

impl PatchShape {
    /// How much of the patch and how little of the image is seen at each pixel of a patch of `size` by
    /// `size`.
    pub fn opacity(self, size: usize) -> Vec<f32> {
        let at = |i: usize| if size > 1 { 2.0 * i as f64 / (size - 1) as f64 - 1.0 } else { 0.0 };
        let opacity = |(row, column): (usize, usize)| match self {
            Self::Circle => 1.0 - (at(row).powi(2) + at(column).powi(2)).powi(40).min(1.0),
            Self::Square => 1.0,
        };
        (0..size * size).map(|i| opacity((i / size, i % size)) as f32).collect()
    }

    /// The half side or radius of what a patch of `size`, resized to `edge` by `edge`, covers at most.
    fn reach(self, size: usize, edge: usize) -> f64 {
        let (pixels, magnified) = (edge as f64, edge as f64 / size as f64);
        match self {
            Self::Square => pixels / 2.0,
            // The last pixels with an opacity, what the interpolation adds to them, and half a diagonal.
            Self::Circle => (size - 1) as f64 / 2.0 * magnified + magnified.max(1.0) + 0.5f64.sqrt(),
        }
    }

    /// The most pixels that it covers at this scale: no convex region holds more points of a grid than its
    /// area, half its perimeter and one (Nosarzewska 1948).
    pub(super) fn most_pixels(self, size: usize, edge: usize, scale: f64) -> f64 {
        let reach = scale * self.reach(size, edge);
        match self {
            Self::Square => (2.0 * reach + 1.0).powi(2),
            Self::Circle => PI * reach * (reach + 1.0) + 1.0,
        }
    }

    /// The largest scale at which it covers no more than so many pixels; 0 if there is none.
    pub(super) fn largest_scale(self, size: usize, edge: usize, pixels: f64) -> f64 {
        let reach = match self {
            Self::Square => (pixels.sqrt() - 1.0) / 2.0,
            Self::Circle => ((1.0 + 4.0 * (pixels - 1.0) / PI).max(0.0).sqrt() - 1.0) / 2.0,
        };
        (reach / self.reach(size, edge)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_scale_is_the_one_that_covers_as_many_pixels() {
        for shape in [PatchShape::Circle, PatchShape::Square] {
            for (size, edge, scale) in [(8, 16, 0.5), (50, 224, 0.3), (300, 224, 1.0)] {
                let pixels = shape.most_pixels(size, edge, scale);
                assert!((shape.largest_scale(size, edge, pixels) - scale).abs() < 1e-12);
                assert_eq!(shape.largest_scale(size, edge, 0.5), 0.0);
            }
        }
    }

    #[test]
    fn discs_are_opaque_in_the_middle_and_clear_at_the_corners() {
        let disc = PatchShape::Circle.opacity(9);
        assert_eq!((disc[40], disc[0], disc[4]), (1.0, 0.0, 0.0));
        // (0.75^2 + 0.5^2)^40
        assert!((f64::from(disc[9 + 2]) - (1.0 - 0.8125f64.powi(40))).abs() < 1e-6);
        assert_eq!(PatchShape::Square.opacity(2), [1.0; 4]);
        assert_eq!(PatchShape::Circle.opacity(1), [1.0]);
    }
}
