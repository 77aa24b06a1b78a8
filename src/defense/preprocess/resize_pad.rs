//! Random resizing and padding.

use burn::config::Config;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Backward, ImageDraws, Preprocess};
use crate::parameter::Parameter;
use crate::pixels::{Separable, resize_into_rows};
use crate::random::{Generator, Purpose, RngExt};

const PLACE: Purpose = Purpose::named("the size and place of random resizing and padding");

/// Where the values of a resized image come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// As PyTorch's `interpolate` with `align_corners=False`, without antialiasing.
    Bilinear,
    /// The nearest value below, as PyTorch's `interpolate` with mode "nearest".
    Nearest,
}

/// Every image enlarged to a random size and padded at random sides to the largest one: Xie, Wang, Zhang, Ren
/// & Yuille, "Mitigating Adversarial Effects Through Randomization", ICLR 2018.
///
/// The paper enlarges 299x299 to a side from 299 to 331 and pads to 331x331; other sizes grow in proportion,
/// so that 224x224 gets a side from 224 to 248 and is padded to 248x248. Every size and every place that fits
/// has the same chance; images that are not square keep their proportions. The classifier must take images of
/// the padded size. Images of any number of channels.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | growth | 1.107 (331 / 299) | a number from 1 to 4 |
/// | interpolation | bilinear | bilinear or nearest |
/// | fill | 0 | a number from 0 to 1 |
/// | seed | 0 | any |
///
/// The backward pass is exact: what protects is the randomness alone, and the expectation over it is the
/// attack.
///
/// ```
/// use histoguard::defense::{ImageDraws, Preprocess, RandomResizePad};
/// use histoguard::prelude::*;
///
/// let images = Tensor::<4>::ones([2, 3, 224, 224], &Device::default());
/// let padded = RandomResizePad::new().apply(images.clone(), &ImageDraws::first(&images));
/// assert_eq!(padded.dims(), [2, 3, 248, 248]);
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct RandomResizePad {
    /// The largest side, and that after padding, as a multiple of the image's own.
    #[config(default = 1.107)]
    pub growth: f64,
    /// Where the values of the resized image come from.
    #[config(default = "Interpolation::Bilinear")]
    pub interpolation: Interpolation,
    /// The value of the padding; 0.5 in obfuscated-gradients.
    #[config(default = 0.0)]
    pub fill: f64,
    /// The seed of sizes and places.
    #[config(default = 0)]
    pub seed: u64,
}

/// The size of a resized image and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placement {
    height: usize,
    width: usize,
    top: usize,
    left: usize,
}

impl RandomResizePad {
    fn largest(self, side: usize) -> usize {
        (side as f64 * self.growth).round() as usize
    }

    fn draw(self, [height, width]: [usize; 2], rng: &mut Generator) -> Placement {
        let (tall, wide) = (self.largest(height), self.largest(width));
        let grown = rng.random_range(0..=tall - height);
        let share = if tall > height { grown as f64 / (tall - height) as f64 } else { 0.0 };
        let height = height + grown;
        let width = width + ((wide - width) as f64 * share).round() as usize;
        let (top, left) = (rng.random_range(0..=tall - height), rng.random_range(0..=wide - width));
        Placement { height, width, top, left }
    }

    /// The images resized and padded like this, each its own way.
    fn place(self, images: Tensor<4>, placements: &[Placement]) -> Tensor<4> {
        let [_, _, height, width] = images.dims();
        let rows = match self.interpolation {
            Interpolation::Bilinear => resize_into_rows,
            Interpolation::Nearest => nearest_rows,
        };
        let sides = |&at: &Placement| {
            let vertical = rows(height, at.height, at.top, self.largest(height));
            (vertical, rows(width, at.width, at.left, self.largest(width)))
        };
        let map = Separable::new(placements.iter().map(sides).collect(), &images);
        match self.fill {
            0.0 => map.apply(images),
            fill => map.apply(images - fill) + fill,
        }
    }
}

/// The matrix of `size` values from the nearest of `side`, that stand at `start` among `whole`.
fn nearest_rows(side: usize, size: usize, start: usize, whole: usize) -> Vec<f32> {
    let mut rows = vec![0.0; whole * side];
    (0..size).for_each(|i| rows[(start + i) * side + i * side / size] = 1.0);
    rows
}

impl Preprocess for RandomResizePad {
    fn name(&self) -> String {
        "Random resizing and padding".into()
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::within("growth", self.growth, 1.0..=4.0),
            Parameter::within("fill", self.fill, 0.0..=1.0),
        ]
    }

    fn is_random(&self) -> bool {
        true
    }

    fn apply(&self, images: Tensor<4>, draws: &ImageDraws) -> Tensor<4> {
        let [batch, _, height, width] = images.dims();
        let drawn = |row| self.draw([height, width], &mut draws.generator(PLACE, self.seed, row));
        let placements: Vec<Placement> = (0..batch).map(drawn).collect();
        self.place(images, &placements)
    }

    fn backward(&self) -> Backward {
        Backward::Exact
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::generator;
    use crate::rows::values;
    use burn::tensor::{Device, TensorData};
    use safetensors::SafeTensors;

    fn golden(name: &str) -> Tensor<4> {
        let bytes = include_bytes!("../../../tests/golden/defenses/preprocess.safetensors");
        let file = SafeTensors::deserialize(bytes).unwrap();
        let view = file.tensor(name).unwrap();
        let values: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        Tensor::from_data(TensorData::new(values, view.shape().to_vec()), &Device::default())
    }

    /// PyTorch's `interpolate` and `pad`, and the gradient of its sum of squares by autograd.
    #[test]
    fn fixed_sizes_and_places_equal_pytorch() {
        let placements = [
            Placement { height: 20, width: 10, top: 2, left: 1 },
            Placement { height: 22, width: 11, top: 0, left: 0 },
            Placement { height: 21, width: 10, top: 1, left: 0 },
        ];
        let images = golden("resize.images");
        for (name, interpolation) in
            [("bilinear", Interpolation::Bilinear), ("nearest", Interpolation::Nearest)]
        {
            for (fill, suffix) in [(0.0, "0"), (0.5, "half")] {
                let settings = RandomResizePad::new().with_interpolation(interpolation).with_fill(fill);
                let tracked = images.clone().autodiff().require_grad();
                let out = settings.place(tracked.clone(), &placements);
                let gradient = tracked.grad(&out.clone().square().sum().backward()).unwrap();
                for (what, found, tolerance) in [("out", out.inner(), 2e-6), ("gradient", gradient, 1e-5)] {
                    let expected = golden(&format!("resize.{name}.{suffix}.{what}"));
                    let off: f32 = (found - expected).abs().max().into_scalar();
                    assert!(off < tolerance, "{name} {suffix} {what}: {off}");
                }
            }
        }
    }

    /// Each of the 25 sizes of 224, and each of the places of one size, within five standard deviations of
    /// its share.
    #[test]
    fn sizes_and_places_are_uniform() {
        let settings = RandomResizePad::new();
        let (mut sizes, mut tops, mut lefts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let count = 25_000;
        for image in 0..count {
            let at = settings.draw([224, 224], &mut generator(PLACE, 0, &[image]));
            assert_eq!(at.height, at.width);
            *sizes.entry(at.height).or_insert(0) += 1;
            if at.height == 239 {
                *tops.entry(at.top).or_insert(0) += 1;
                *lefts.entry(at.left).or_insert(0) += 1;
            }
        }
        assert!(sizes.keys().copied().eq(224..=248));
        assert!(tops.keys().copied().eq(0..=9) && lefts.keys().copied().eq(0..=9));
        for counts in [sizes, tops, lefts] {
            let (total, share) = (counts.values().sum::<i32>() as f64, 1.0 / counts.len() as f64);
            let deviation = (total * share * (1.0 - share)).sqrt();
            counts.values().for_each(|&n| assert!((n as f64 - total * share).abs() < 5.0 * deviation));
        }
    }

    #[test]
    fn images_that_are_not_square_keep_their_proportions() {
        for image in 0..50 {
            let at = RandomResizePad::new().draw([200, 100], &mut generator(PLACE, 1, &[image]));
            assert!((at.height as f64 / at.width as f64 - 2.0).abs() < 0.02, "{at:?}");
            assert!(at.top + at.height <= 221 && at.left + at.width <= 111, "{at:?}");
        }
    }

    #[test]
    fn rows_have_draws_of_their_own() {
        let images = golden("resize.images");
        let (settings, draws) = (RandomResizePad::new(), ImageDraws::first(&images));
        let together = settings.apply(images.clone(), &draws);
        for row in 0..images.dims()[0] {
            let image = images.clone().narrow(0, row, 1);
            let alone = settings.apply(image.clone(), &ImageDraws::first(&image));
            assert_eq!(values(together.clone().narrow(0, row, 1)), values(alone));
        }
    }
}
