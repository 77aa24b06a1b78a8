//! Random views of training images.

use image::RgbImage;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::resize::{CropBox, Orientation, resized_crop, write_unit};
use crate::data::DataError;
use crate::parameter::Parameter;

/// Random resized crops, flips and quarter turns, drawn anew for every image and epoch.
///
/// | field | default | purpose | range |
/// | --- | --- | --- | --- |
/// | `crop_scale` | (0.6, 1) | smallest and largest share of the image's area in the crop | 0 < a ≤ b ≤ 1 |
/// | `crop_ratio` | (3/4, 4/3) | smallest and largest width/height of the crop | 0 < a ≤ b |
/// | `horizontal_flips` | true | mirror left to right with probability 1/2 | |
/// | `vertical_flips` | true | mirror top to bottom with probability 1/2 | |
/// | `quarter_turns` | false | turn by 0, 90, 180 or 270 degrees, each with probability 1/4 | |
///
/// The crop is drawn as by torchvision's `RandomResizedCrop`: ten tries for an area and ratio that fit, then
/// the largest central crop that keeps to the ratios.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Smallest and largest share of the image's area in the crop.
    pub crop_scale: (f64, f64),
    /// Smallest and largest width/height of the crop.
    pub crop_ratio: (f64, f64),
    /// Mirror left to right with probability 1/2.
    pub horizontal_flips: bool,
    /// Mirror top to bottom with probability 1/2.
    pub vertical_flips: bool,
    /// Turn by a random multiple of 90 degrees.
    pub quarter_turns: bool,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self::paper()
    }
}

/// One random view of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct View {
    part: CropBox,
    orientation: Orientation,
}

impl Augmentation {
    /// Crops of 60 to 100 % of the area and flips. The paper says only that it trains on augmented crops of
    /// 224 x 224.
    pub fn paper() -> Self {
        Self {
            crop_scale: (0.6, 1.0),
            crop_ratio: (3.0 / 4.0, 4.0 / 3.0),
            horizontal_flips: true,
            vertical_flips: true,
            quarter_turns: false,
        }
    }

    /// Crops of 80 to 100 % of the area, mirrored left to right only: for images that have a top, such as X-rays.
    pub fn upright() -> Self {
        Self { crop_scale: (0.8, 1.0), vertical_flips: false, ..Self::paper() }
    }

    /// Whether every field is in its documented range.
    ///
    /// # Errors
    ///
    /// [`DataError::Parameter`] naming the first that is not.
    pub fn validate(&self) -> Result<(), DataError> {
        let (low, high) = self.crop_scale;
        let (fits, found) = (low > 0.0 && low <= high && high <= 1.0, format!("({low}, {high})"));
        Parameter::new("crop_scale", "two shares above 0 and at most 1, in order", fits, found).check()?;
        let (low, high) = self.crop_ratio;
        let (fits, found) = (low > 0.0 && low <= high && high.is_finite(), format!("({low}, {high})"));
        Ok(Parameter::new("crop_ratio", "two ratios above 0, in order", fits, found).check()?)
    }

    /// A random view of an image of this size.
    pub(crate) fn draw(&self, width: u32, height: u32, rng: &mut impl Rng) -> View {
        let part = self.crop_box(width, height, || rng.random::<f64>());
        let orientation = Orientation {
            quarter_turns: if self.quarter_turns { rng.random_range(0..4) } else { 0 },
            flip_horizontally: self.horizontal_flips && rng.random(),
            flip_vertically: self.vertical_flips && rng.random(),
        };
        View { part, orientation }
    }

    /// torchvision's `RandomResizedCrop.get_params`, with `uniform` giving numbers in \[0,1).
    fn crop_box(&self, width: u32, height: u32, mut uniform: impl FnMut() -> f64) -> CropBox {
        let (w, h) = (f64::from(width), f64::from(height));
        let mut between = |low: f64, high: f64| low + (high - low) * uniform();
        for _ in 0..10 {
            let area = w * h * between(self.crop_scale.0, self.crop_scale.1);
            let ratio = between(self.crop_ratio.0.ln(), self.crop_ratio.1.ln()).exp();
            let crop_w = (area * ratio).sqrt().round_ties_even();
            let crop_h = (area / ratio).sqrt().round_ties_even();
            if crop_w >= 1.0 && crop_w <= w && crop_h >= 1.0 && crop_h <= h {
                let top = between(0.0, h - crop_h + 1.0).floor() as u32;
                let left = between(0.0, w - crop_w + 1.0).floor() as u32;
                return CropBox { left, top, width: crop_w as u32, height: crop_h as u32 };
            }
        }
        let (crop_w, crop_h) = if w / h < self.crop_ratio.0 {
            (w, (w / self.crop_ratio.0).round_ties_even())
        } else if w / h > self.crop_ratio.1 {
            ((h * self.crop_ratio.1).round_ties_even(), h)
        } else {
            (w, h)
        };
        let (crop_w, crop_h) = (crop_w.clamp(1.0, w) as u32, crop_h.clamp(1.0, h) as u32);
        CropBox { left: (width - crop_w) / 2, top: (height - crop_h) / 2, width: crop_w, height: crop_h }
    }
}

impl View {
    /// Writes the view of the image as `[3, size, size]` values in \[0,1\].
    pub(crate) fn write(&self, image: &RgbImage, size: u32, out: &mut [f32]) {
        write_unit(&resized_crop(image, self.part, size), size as usize, self.orientation, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{Purpose, generator};

    /// Fallback cases of torchvision 0.2x `RandomResizedCrop.get_params`: scale above what fits never succeeds
    /// for a strip, so the largest central crop at the nearest ratio is taken. Values by hand.
    #[test]
    fn strips_get_the_central_crop() {
        let paper = Augmentation::paper();
        let ratio = |u: f64| move || u;
        // 90/30 = 3 > 4/3: width 30 * 4/3 = 40, left (90 - 40) / 2 = 25.
        let expected = CropBox { left: 25, top: 0, width: 40, height: 30 };
        assert_eq!(paper.crop_box(90, 30, ratio(0.999)), expected);
        // 30/90 < 3/4: height 30 / 0.75 = 40, top 25.
        let expected = CropBox { left: 0, top: 25, width: 30, height: 40 };
        assert_eq!(paper.crop_box(30, 90, ratio(0.0)), expected);
    }

    /// u = 1/2: area 0.8 * 100 * 100, ratio exp(0) = 1, so round(sqrt(8000)) = 89 both ways, and
    /// floor((100 - 89 + 1) / 2) = 6 from the corner.
    #[test]
    fn the_middle_of_all_ranges() {
        let expected = CropBox { left: 6, top: 6, width: 89, height: 89 };
        assert_eq!(Augmentation::paper().crop_box(100, 100, || 0.5), expected);
    }

    /// torchvision's own `get_params` fed with the same uniform numbers; tests/golden/resize.py wrote the boxes.
    #[test]
    fn crops_match_torchvision() {
        #[derive(Deserialize)]
        struct Case {
            image: [u32; 2],
            scale: (f64, f64),
            uniform: Vec<f64>,
            left: u32,
            top: u32,
            width: u32,
            height: u32,
        }
        #[derive(Deserialize)]
        struct Golden {
            boxes: Vec<Case>,
        }
        let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/resize.json")).unwrap();
        for Case { image: [w, h], scale, uniform, left, top, width, height } in golden.boxes {
            let mut numbers = uniform.into_iter();
            let augmentation = Augmentation { crop_scale: scale, ..Augmentation::paper() };
            let found = augmentation.crop_box(w, h, || numbers.next().unwrap());
            assert_eq!(found, CropBox { left, top, width, height });
            assert_eq!(numbers.next(), None);
        }
    }

    #[test]
    fn ranges_are_checked_at_their_edges() {
        let paper = Augmentation::paper();
        assert!(paper.validate().is_ok());
        assert!(Augmentation { crop_scale: (1.0, 1.0), ..paper }.validate().is_ok());
        for crop_scale in [(0.0, 1.0), (0.5, 0.4), (0.5, 1.01), (f64::NAN, 1.0), (0.5, f64::NAN)] {
            assert!(Augmentation { crop_scale, ..paper }.validate().is_err(), "{crop_scale:?}");
        }
        for crop_ratio in [(0.0, 1.0), (2.0, 1.0), (1.0, f64::INFINITY), (f64::NAN, 1.0)] {
            assert!(Augmentation { crop_ratio, ..paper }.validate().is_err(), "{crop_ratio:?}");
        }
    }

    #[test]
    fn an_image_with_a_top_keeps_it() {
        let flips = |augmentation: Augmentation| {
            let mut rng = generator(Purpose::AUGMENTATION, 0, &[]);
            let drawn = (0..400).map(|_| augmentation.draw(50, 40, &mut rng).orientation);
            drawn.fold([0, 0], |[h, v], o| {
                [h + u32::from(o.flip_horizontally), v + u32::from(o.flip_vertically)]
            })
        };
        // Five standard deviations of a fair coin are 50 of 400.
        let [horizontal, vertical] = flips(Augmentation::upright());
        assert!((150..250).contains(&horizontal) && vertical == 0, "{horizontal} {vertical}");
        let [horizontal, vertical] = flips(Augmentation::paper());
        assert!(
            (150..250).contains(&horizontal) && (150..250).contains(&vertical),
            "{horizontal} {vertical}"
        );
    }

    #[test]
    fn settings_survive_serialisation() {
        let paper = Augmentation::paper();
        let text = serde_json::to_string(&paper).unwrap();
        assert_eq!(serde_json::from_str::<Augmentation>(&text).unwrap(), paper);
    }

    proptest! {
        #[test]
        fn views_stay_inside(width in 1_u32..900, height in 1_u32..900, seed in any::<u64>()) {
            let augmentation = Augmentation { quarter_turns: true, crop_scale: (0.01, 1.0), ..Augmentation::paper() };
            let mut rng = generator(Purpose::AUGMENTATION, seed, &[]);
            let view = augmentation.draw(width, height, &mut rng);
            prop_assert!(view.part.width >= 1 && view.part.left + view.part.width <= width);
            prop_assert!(view.part.height >= 1 && view.part.top + view.part.height <= height);
        }
    }
}
