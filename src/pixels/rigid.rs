//! Rotation and translation of an image.

use burn::tensor::{Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// A rotation about the middle of the image and then a translation, which keep every distance: how a slide
/// lies on the stage.
///
/// Each pixel of the result is interpolated linearly between the four around the place that it comes from;
/// beyond its ends the image goes on mirrored, its last row or column twice. That is
/// `scipy.ndimage.affine_transform` with `order=1` and `mode="reflect"`, and PyTorch's `grid_sample` with
/// `padding_mode="reflection"` and `align_corners=False`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RigidMotion {
    /// Degrees counterclockwise.
    pub degrees: f64,
    /// Down, as a share of the height.
    pub down: f64,
    /// To the right, as a share of the width.
    pub right: f64,
}

impl RigidMotion {
    /// Whether nothing moves.
    pub fn is_identity(&self) -> bool {
        *self == Self::default()
    }

    /// The moved images.
    ///
    /// # Shapes
    ///
    /// - `images`, output: `[batch, channels, height, width]`
    pub fn apply(&self, images: Tensor<4>) -> Tensor<4> {
        if self.is_identity() || images.shape().num_elements() == 0 {
            return images;
        }
        let [batch, channels, height, width] = images.dims();
        let device = images.device();
        let pixels = images.reshape([batch, channels, height * width]);
        let mut moved: Option<Tensor<3>> = None;
        for (places, weights) in self.corners(height, width) {
            let places = Tensor::<1, Int>::from_data(TensorData::new(places, [height * width]), &device);
            let weights = Tensor::<3>::from_data(TensorData::new(weights, [1, 1, height * width]), &device);
            let part = pixels.clone().select(2, places) * weights;
            moved = Some(match moved {
                Some(sum) => sum + part,
                None => part,
            });
        }
        moved.expect("four corners").reshape([batch, channels, height, width])
    }

    /// For each of the four corners around a pixel's origin, its place and its weight for every pixel.
    fn corners(&self, height: usize, width: usize) -> [(Vec<i64>, Vec<f32>); 4] {
        let (sin, cos) = self.degrees.to_radians().sin_cos();
        let middle = |side: usize| (side as f64 - 1.0) / 2.0;
        let (middle_y, middle_x) = (middle(height), middle(width));
        let mut corners: [(Vec<i64>, Vec<f32>); 4] = Default::default();
        for y in 0..height {
            for x in 0..width {
                let dy = y as f64 - middle_y - self.down * height as f64;
                let dx = x as f64 - middle_x - self.right * width as f64;
                // The way back: rows count downwards.
                let (from_y, from_x) = (cos * dy + sin * dx + middle_y, cos * dx - sin * dy + middle_x);
                let (low_y, low_x) = (from_y.floor(), from_x.floor());
                let (share_y, share_x) = (from_y - low_y, from_x - low_x);
                for (i, (places, weights)) in corners.iter_mut().enumerate() {
                    let (next_y, next_x) = (i / 2, i % 2);
                    let row = mirrored(low_y as i64 + next_y as i64, height);
                    let column = mirrored(low_x as i64 + next_x as i64, width);
                    places.push((row * width + column) as i64);
                    let share = |share: f64, next: usize| if next == 1 { share } else { 1.0 - share };
                    weights.push((share(share_y, next_y) * share(share_x, next_x)) as f32);
                }
            }
        }
        corners
    }
}

/// The place in a row of this many values that goes on mirrored.
fn mirrored(at: i64, side: usize) -> usize {
    let at = at.rem_euclid(2 * side as i64) as usize;
    at.min(2 * side - 1 - at)
}
