//! Where a patch lies in an image.

use serde::{Deserialize, Serialize};

use crate::parameter::Parameter;
use crate::random::{Generator, RngExt};

/// Where a patch lies in an image: turned, scaled and shifted about its middle, from the middle of the image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Its side, as a share of the image's shorter edge; 0 for no patch at all.
    pub scale: f64,
    /// Degrees by which it is turned clockwise.
    pub angle: f64,
    /// Pixels by which its middle is to the right of and below the image's.
    pub shift: [f64; 2],
}

/// Where patches are laid: what a [`Placement`] is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Places {
    /// The largest angle, in degrees, in either direction.
    pub rotation_max: f64,
    /// The smallest scale.
    pub scale_min: f64,
    /// The largest scale.
    pub scale_max: f64,
    /// Row and column of the upper left corner of a patch of its own size, in place of any scale and shift.
    pub location: Option<[usize; 2]>,
}

impl Default for Places {
    /// Those of IBM ART: up to 22.5 degrees, from a tenth of the shorter edge to all of it, anywhere.
    fn default() -> Self {
        Self { rotation_max: 22.5, scale_min: 0.1, scale_max: 1.0, location: None }
    }
}

impl Places {
    /// Beside their ranges, for a patch of `size` by `size` in images of this height and width.
    pub(super) fn parameters(&self, size: usize, [height, width]: [usize; 2]) -> Vec<Parameter> {
        let [row, column] = self.location.unwrap_or_default();
        let inside = row.checked_add(size).is_some_and(|end| end <= height)
            && column.checked_add(size).is_some_and(|end| end <= width);
        let most = Parameter::new(
            "scale max",
            "a number above 0, up to 1",
            self.scale_max > 0.0 && self.scale_max <= 1.0,
            self.scale_max,
        );
        let least = Parameter::new(
            "scale min",
            "a number above 0, up to scale max",
            self.scale_min > 0.0 && self.scale_min <= self.scale_max,
            self.scale_min,
        );
        let expected = format!("a corner of {size}x{size} pixels within {height}x{width}");
        let corner = format!("row {row}, column {column}");
        vec![
            Parameter::within("rotation max", self.rotation_max, 0.0..=180.0),
            most,
            least,
            Parameter::new("location", expected, self.location.is_none() || inside, corner),
        ]
    }

    /// The largest scale of a patch of this size.
    pub(super) fn largest(&self, size: usize, image: [usize; 2]) -> f64 {
        match self.location {
            Some(_) => size as f64 / edge(image) as f64,
            None => self.scale_max,
        }
    }

    /// A placement in images of this height and width, at a scale of at most `largest`.
    pub(super) fn draw(
        &self,
        size: usize,
        image: [usize; 2],
        largest: f64,
        rng: &mut Generator,
    ) -> Placement {
        let mut uniform = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
        let angle = uniform(-self.rotation_max, self.rotation_max);
        if let Some(corner) = self.location {
            let placed = Placement::at(size, corner, image);
            return Placement { scale: placed.scale.min(largest), angle, ..placed };
        }
        let high = self.scale_max.min(largest);
        let scale = uniform(self.scale_min.min(high), high);
        let room = |side: usize| (side as f64 - scale * edge(image) as f64) / 2.0;
        let shift = [image[1], image[0]].map(|side| uniform(-room(side), room(side)));
        Placement { scale, angle, shift }
    }
}

impl Placement {
    /// A patch of `size` by `size` pixels in its own size and upright, its upper left corner at this row and
    /// column of an image of this height and width.
    pub fn at(size: usize, corner: [usize; 2], image: [usize; 2]) -> Self {
        let shift = |side: usize| corner[side] as f64 - (image[side].saturating_sub(size) / 2) as f64;
        let scale = size as f64 / edge(image) as f64;
        Self { scale, angle: 0.0, shift: [shift(1), shift(0)] }
    }

    /// Which pixel of a square as large as the shorter edge, in the middle of the image, is seen at each
    /// pixel of an image of this height and width; none outside the square.
    ///
    /// The nearest one, as torchvision's `affine` finds it, in single precision and in the same order.
    pub(super) fn sources(&self, image: [usize; 2]) -> Vec<Option<usize>> {
        let [height, width] = image;
        if self.scale <= 0.0 {
            return vec![None; height * width];
        }
        let (sin, cos) = self.angle.to_radians().sin_cos();
        let [right, down] = self.shift;
        let row = |a: f64, b: f64, side: usize| {
            let (a, b) = (a / self.scale, b / self.scale);
            [a, b, -a * right - b * down].map(|entry| entry as f32 / (0.5 * side as f32))
        };
        let (across, along) = (row(cos, sin, width), row(-sin, cos, height));
        let square = edge(image);
        let before = [(height - square) / 2, (width - square) / 2];
        let from = |[a, b, c]: [f32; 3], x: f32, y: f32, side: usize| {
            (((x * a + y * b + c) + 1.0) * side as f32 - 1.0) / 2.0
        };
        let within = |at: f32, before: usize| {
            let at = f64::from(at.round_ties_even()) - before as f64;
            (at >= 0.0 && at < square as f64).then_some(at as usize)
        };
        let middle = |at: usize, side: usize| at as f32 - side as f32 * 0.5 + 0.5;
        let source = |i: usize| {
            let (x, y) = (middle(i % width, width), middle(i / width, height));
            let row = within(from(along, x, y, height), before[0])?;
            let column = within(from(across, x, y, width), before[1])?;
            Some(row * square + column)
        };
        (0..height * width).map(source).collect()
    }
}

/// The shorter edge.
pub(super) fn edge([height, width]: [usize; 2]) -> usize {
    height.min(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};

    #[test]
    fn upright_patches_lie_where_they_are_put() {
        // A square of 4, of which every second pixel is seen, from row 2, column 1 on.
        let sources = Placement::at(2, [2, 1], [4, 4]).sources([4, 4]);
        let seen: Vec<usize> = (0..16).filter(|&i| sources[i].is_some()).collect();
        assert_eq!(seen, [9, 10, 13, 14]);
        // A quarter turn clockwise brings the upper left corner to the upper right.
        let turned = Placement { scale: 1.0, angle: 90.0, shift: [0.0; 2] }.sources([3, 3]);
        assert_eq!(turned.into_iter().map(Option::unwrap).collect::<Vec<_>>(), [6, 3, 0, 7, 4, 1, 8, 5, 2]);
        assert!(
            Placement { scale: 0.0, angle: 0.0, shift: [0.0; 2] }.sources([3, 4]).iter().all(Option::is_none)
        );
    }

    #[test]
    fn drawn_places_are_within_their_ranges() {
        let places = Places { scale_min: 0.2, scale_max: 0.5, ..Places::default() };
        let mut rng = generator(Purpose::named("test"), 0, &[]);
        let mut ends = [f64::INFINITY, 0.0];
        for _ in 0..1000 {
            let Placement { scale, angle, shift } = places.draw(8, [20, 30], 1.0, &mut rng);
            assert!((0.2..=0.5).contains(&scale) && angle.abs() <= 22.5);
            assert!(shift[0].abs() <= 15.0 - 10.0 * scale && shift[1].abs() <= 10.0 - 10.0 * scale);
            ends = [ends[0].min(scale), ends[1].max(scale)];
        }
        assert!(ends[0] < 0.21 && ends[1] > 0.49, "{ends:?}");
        // A smaller budget makes patches smaller, below the smallest scale too.
        assert_eq!(places.draw(8, [20, 30], 0.1, &mut rng).scale, 0.1);
    }
}
