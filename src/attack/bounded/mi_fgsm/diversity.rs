//! Random resizing and padding of what the victim sees.

use serde::{Deserialize, Serialize};

use crate::attack::Draws;
use crate::attack::prelude::*;
use crate::pixels::{Separable, resize_rows};

/// Input diversity (DI): with some probability each pass sees the image shrunk to a random size (bilinear)
/// and padded with zeros at a random place, every image its own. Xie et al., "Improving Transferability of
/// Adversarial Examples with Input Diversity", CVPR 2019; 0.5 and 0.9 in torchattacks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputDiversity {
    /// How often a pass sees a changed image.
    pub probability: f64,
    /// The smallest size, as a share of the image's own.
    pub resize_rate: f64,
}

impl InputDiversity {
    pub(super) fn parameters(self) -> [Parameter; 2] {
        let (rate, range) = (self.resize_rate, "a number above 0 and below 1");
        [
            Parameter::within("input diversity probability", self.probability, 0.0..=1.0),
            Parameter::new("input diversity resize rate", range, rate > 0.0 && rate < 1.0, rate),
        ]
    }

    /// Each image's own resizing and place, or none.
    pub(super) fn draw(self, images: &Tensor<4>, draws: &Draws) -> Separable {
        let [batch, _, height, width] = images.dims();
        let smallest = |side: usize| ((side as f64 * self.resize_rate) as usize).max(1);
        let sides = (0..batch).map(|row| {
            let mut rng = draws.generator(row);
            let transformed = rng.random::<f64>() < self.probability && smallest(width) < width;
            let narrow = if transformed { rng.random_range(smallest(width)..width) } else { width };
            // The height keeps the proportions of the image.
            let short = ((height * narrow) as f64 / width.max(1) as f64).round() as usize;
            let short = short.clamp(height.min(1), height);
            let mut place = |free: usize| if free > 0 { rng.random_range(0..free) } else { 0 };
            let (top, left) = (place(height - short), place(width - narrow));
            (resize_rows(height, short, top), resize_rows(width, narrow, left))
        });
        Separable::new(sides.collect(), images)
    }
}
