//! Tensors as pictures.

use burn::tensor::Tensor;
use image::{Rgb, RgbImage, imageops};

use super::canvas::MARGIN;
use crate::report::ReportError;

/// Square tiles side by side.
pub(super) struct Tiles {
    pub(super) side: i32,
    pub(super) gap: i32,
}

impl Tiles {
    pub(super) const fn left(&self, column: usize) -> i32 {
        MARGIN + column as i32 * (self.side + self.gap)
    }

    /// Of a figure with so many columns.
    pub(super) const fn width(&self, columns: usize) -> i32 {
        self.left(columns) - self.gap + MARGIN
    }

    /// An image as large as fits into a tile; single pixels stay visible when enlarged.
    pub(super) fn fit(&self, image: &RgbImage) -> RgbImage {
        let ((width, height), side) = (image.dimensions(), self.side as u32);
        let scale = f64::from(side) / f64::from(width.max(height));
        let scaled = |length: u32| ((f64::from(length) * scale).round() as u32).clamp(1, side);
        let filter = if scale > 1.0 { imageops::FilterType::Nearest } else { imageops::FilterType::Triangle };
        imageops::resize(image, scaled(width), scaled(height), filter)
    }
}

/// Refuses an image that is not of the original's shape.
pub(super) fn alike(original: &Tensor<3>, other: &Tensor<3>, input: &'static str) -> Result<(), ReportError> {
    let found = format!("{:?} and {:?}", original.dims(), other.dims());
    let refused = ReportError::refused(input, "the original's shape", found);
    if original.dims() == other.dims() { Ok(()) } else { Err(refused) }
}

/// An image `[channels, height, width]` in \[0,1\] as 8-bit RGB; one channel is grey. NaN is black.
pub(super) fn picture(image: &Tensor<3>, input: &'static str) -> Result<RgbImage, ReportError> {
    let [channels, height, width] = image.dims();
    if !matches!(channels, 1 | 3) || height == 0 || width == 0 {
        let found = format!("{:?}", image.dims());
        return Err(ReportError::refused(input, "shape [1 or 3, height, width]", found));
    }
    let values: Vec<f32> =
        image.clone().inner().into_data().convert::<f32>().try_into_vec().expect("f32 after conversion");
    let level = |channel: usize, x: u32, y: u32| {
        let channel = channel.min(channels - 1);
        (values[(channel * height + y as usize) * width + x as usize] * 255.0).round().clamp(0.0, 255.0) as u8
    };
    Ok(RgbImage::from_fn(width as u32, height as u32, |x, y| {
        Rgb([level(0, x, y), level(1, x, y), level(2, x, y)])
    }))
}
