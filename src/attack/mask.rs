//! Which values of an image an attack may change.

use std::fmt::{Debug, Formatter};
use std::sync::Arc;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::AttackError;
use crate::parameter::{self, Parameter};
use crate::rows::values;

/// Which values of an image an attack may change: one mask for all images, or one for each image of a data
/// set.
///
/// A mask of one channel holds for all channels of an image. [`Masked`](super::Masked) restricts an attack to
/// it.
///
/// ```
/// use histoguard::attack::Mask;
///
/// // The middle 8x8 pixels of 16x16 images.
/// let mask = Mask::centre([16, 16], 8)?;
/// assert_eq!((mask.share(), mask.shape()), (0.25, [1, 16, 16]));
/// # Ok::<(), histoguard::attack::AttackError>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Mask {
    shape: [usize; 3],
    /// One for all images, or one for each index in the data set.
    images: Arc<[Vec<bool>]>,
}

/// What a [`Profile`](super::Profile) says of a mask: masks with equal digests are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaskSummary {
    /// Share of the values that may change, over all images of the mask.
    pub share: f64,
    /// SHA-256 of shape and values, in hexadecimal digits.
    pub sha256: String,
}

/// For example `12 % of the pixels`.
impl std::fmt::Display for MaskSummary {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let percent = 100.0 * self.share;
        let digits = if percent >= 10.0 { 0 } else { 2 };
        write!(f, "{percent:.digits$} % of the pixels")
    }
}

impl Mask {
    /// The values that may change, row by row, as channels (1 or those of the images), height and width.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] if there are not as many values as the shape says, or if none may change.
    pub fn new(shape: [usize; 3], free: Vec<bool>) -> Result<Self, AttackError> {
        let [channels, height, width] = shape;
        let expected = format!("{channels}x{height}x{width} values");
        let fits = shape.iter().product::<usize>() == free.len();
        let any = free.contains(&true);
        parameter::check([
            Parameter::new("mask", expected, fits, format!("{} values", free.len())),
            Parameter::new("mask", "at least one value that may change", any, "none"),
        ])?;
        Ok(Self { shape, images: [free].into() })
    }

    /// A picture `[channels, height, width]` in \[0,1\] whose light pixels may change: those with a mean of
    /// at least one half over the channels.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] if no pixel is light.
    pub fn light(picture: Tensor<3>) -> Result<Self, AttackError> {
        let [_, height, width] = picture.dims();
        let light = values(picture.mean_dim(0)).into_iter().map(|mean| mean >= 0.5).collect();
        Self::new([1, height, width], light)
    }

    /// `size`, height and width, of the pixels from `corner` on (row, column) may change, in images of
    /// `image` pixels.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] if the rectangle is empty or leaves the image.
    pub fn rectangle(image: [usize; 2], corner: [usize; 2], size: [usize; 2]) -> Result<Self, AttackError> {
        let end = |side: usize| corner[side].checked_add(size[side]);
        let inside = |side: usize| size[side] > 0 && end(side).is_some_and(|end| end <= image[side]);
        let expected = format!("one pixel at least, within {}x{}", image[0], image[1]);
        let found = format!("{}x{} from row {}, column {}", size[0], size[1], corner[0], corner[1]);
        parameter::check([Parameter::new("rectangle", expected, inside(0) && inside(1), found)])?;
        let within = |at: usize, side: usize| (corner[side]..corner[side] + size[side]).contains(&at);
        Self::of_pixels(image, |row, column| within(row, 0) && within(column, 1))
    }

    /// A square in the middle of images of `image` pixels, height and width; where it cannot lie in the very
    /// middle, half a pixel up and left of it.
    ///
    /// # Errors
    ///
    /// As [`rectangle`](Self::rectangle).
    pub fn centre(image: [usize; 2], side: usize) -> Result<Self, AttackError> {
        Self::rectangle(image, image.map(|length| length.saturating_sub(side) / 2), [side; 2])
    }

    /// The pixels whose middle lies at most `radius` pixels from `centre` (row, column, the first pixel's
    /// middle being at 0.5), in images of `image` pixels, height and width.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] if no pixel lies there.
    pub fn circle(image: [usize; 2], centre: [f64; 2], radius: f64) -> Result<Self, AttackError> {
        let away = |at: usize, side: usize| at as f64 + 0.5 - centre[side];
        Self::of_pixels(image, |row, column| away(row, 0).hypot(away(column, 1)) <= radius)
    }

    /// One mask for each image of a data set, in its order: that of an image is found by its
    /// [index](super::Goal::index).
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] if there is none, or if they differ in shape.
    pub fn each(masks: impl IntoIterator<Item = Self>) -> Result<Self, AttackError> {
        let masks: Vec<Self> = masks.into_iter().collect();
        let shape = masks.first().map_or([0; 3], |mask| mask.shape);
        let other = masks.iter().map(|mask| mask.shape).find(|found| *found != shape);
        let found = other.map_or_else(String::new, |other| format!("{other:?}"));
        parameter::check([
            Parameter::at_least("masks", masks.len(), 1),
            Parameter::new("masks", format!("masks of one shape, {shape:?}"), other.is_none(), found),
        ])?;
        Ok(Self { shape, images: masks.iter().flat_map(|mask| mask.images.iter().cloned()).collect() })
    }

    fn of_pixels(
        [height, width]: [usize; 2],
        free: impl Fn(usize, usize) -> bool,
    ) -> Result<Self, AttackError> {
        let free = (0..height * width).map(|i| free(i / width, i % width)).collect();
        Self::new([1, height, width], free)
    }

    /// Channels (1 for a mask of all channels), height and width.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of masks: 1, or one for each image of a data set.
    pub fn count(&self) -> usize {
        self.images.len()
    }

    /// The values of the image with this index that may change, as [`shape`](Self::shape) orders them; `None`
    /// if there is no mask for it.
    pub fn of_image(&self, index: u64) -> Option<&[bool]> {
        let at = if self.images.len() == 1 { 0 } else { usize::try_from(index).ok()? };
        self.images.get(at).map(Vec::as_slice)
    }

    /// Share of the values that may change, over all images of the mask.
    pub fn share(&self) -> f64 {
        let all = self.images.iter().flatten();
        let (free, count) = (all.clone().filter(|free| **free).count(), all.count());
        free as f64 / count as f64
    }

    /// What tells it from other masks.
    pub fn summary(&self) -> MaskSummary {
        let mut digest = Sha256::new();
        for side in self.shape.into_iter().chain([self.count()]) {
            digest.update((side as u64).to_le_bytes());
        }
        for image in self.images.iter() {
            digest.update(image.iter().map(|&free| u8::from(free)).collect::<Vec<u8>>());
        }
        let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        MaskSummary { share: self.share(), sha256 }
    }

    /// Whether it is for images of these channels, height and width.
    pub(super) fn fits(&self, [channels, height, width]: [usize; 3]) -> Parameter {
        let [own, ..] = self.shape;
        let range = format!("1 or {channels} channels of {height}x{width}, as the images");
        let fits = (own == 1 || own == channels) && self.shape[1..] == [height, width];
        let [_, own_height, own_width] = self.shape;
        Parameter::new("mask", range, fits, format!("{own} of {own_height}x{own_width}"))
    }
}

/// Shape, number of masks, share and digest: not the values.
impl Serialize for Mask {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let MaskSummary { share, sha256 } = self.summary();
        serde_json::json!({ "shape": self.shape, "images": self.count(), "share": share, "sha256": sha256 })
            .serialize(to)
    }
}

impl Debug for Mask {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({} of {:?}, {})", self.count(), self.shape, self.summary())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn said<T: Debug>(result: Result<T, AttackError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn shapes_by_hand() {
        let free = |mask: Mask| -> Vec<usize> {
            mask.of_image(7).unwrap().iter().enumerate().filter(|(_, free)| **free).map(|(i, _)| i).collect()
        };
        assert_eq!(free(Mask::rectangle([3, 4], [1, 2], [2, 1]).unwrap()), [6, 10]);
        assert_eq!(free(Mask::centre([3, 4], 2).unwrap()), [1, 2, 5, 6]);
        assert_eq!(free(Mask::circle([3, 3], [1.5, 1.5], 1.0).unwrap()), [1, 3, 4, 5, 7]);
        let picture = Tensor::<3>::from_floats([[[1.0, 0.4]], [[0.0, 0.8]]], &Device::default());
        assert_eq!(free(Mask::light(picture).unwrap()), [0, 1]);
    }

    #[test]
    fn what_cannot_be_a_mask_is_refused() {
        let none = "mask: expected at least one value that may change, found none";
        assert_eq!(said(Mask::new([1, 2, 2], vec![false; 4])), none);
        assert_eq!(said(Mask::light(Tensor::zeros([3, 2, 2], &Device::default()))), none);
        assert_eq!(said(Mask::circle([4, 4], [-9.0, 0.0], 2.0)), none);
        assert_eq!(said(Mask::circle([4, 4], [0.0, 0.0], f64::NAN)), none);
        assert_eq!(said(Mask::new([1, 2, 2], vec![true])), "mask: expected 1x2x2 values, found 1 values");
        let outside = "rectangle: expected one pixel at least, within 4x4, found 2x2 from row 3, column 0";
        assert_eq!(said(Mask::rectangle([4, 4], [3, 0], [2, 2])), outside);
        assert!(said(Mask::centre([4, 4], 0)).starts_with("rectangle: expected one pixel at least"));
        assert!(said(Mask::centre([4, 4], 5)).starts_with("rectangle: expected one pixel at least"));
        assert!(said(Mask::rectangle([4, 4], [usize::MAX, 0], [2, 2])).starts_with("rectangle"));
        assert_eq!(said(Mask::each([])), "masks: expected at least 1, found 0");
        let two = [Mask::centre([4, 4], 2).unwrap(), Mask::centre([4, 5], 2).unwrap()];
        assert!(said(Mask::each(two)).contains("masks of one shape, [1, 4, 4], found [1, 4, 5]"));
    }

    #[test]
    fn other_masks_have_other_digests_and_short_settings() {
        let (a, b) = (Mask::centre([64, 64], 8).unwrap(), Mask::centre([64, 64], 9).unwrap());
        assert_ne!(a.summary().sha256, b.summary().sha256);
        assert_eq!(a.summary(), Mask::rectangle([64, 64], [28, 28], [8, 8]).unwrap().summary());
        assert_eq!(a.summary().to_string(), "1.56 % of the pixels");
        let both = Mask::each([a.clone(), b]).unwrap();
        assert_eq!((both.count(), both.share()), (2, (64.0 + 81.0) / 8192.0));
        assert_eq!((both.of_image(0), both.of_image(2)), (a.of_image(9), None));
        let settings = serde_json::to_string(&both).unwrap();
        assert!(settings.len() < 200, "{settings}");
    }
}
