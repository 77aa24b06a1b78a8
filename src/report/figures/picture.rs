//! Tensors as pictures.

use burn::tensor::Tensor;
use image::{Rgb, RgbImage, imageops};

use crate::report::ReportError;

/// An image `[channels, height, width]` in \[0,1\] as 8-bit RGB; one channel is grey. NaN is black.
pub(super) fn picture(image: &Tensor<3>, input: &'static str) -> Result<RgbImage, ReportError> {
    let [channels, height, width] = image.dims();
    if !matches!(channels, 1 | 3) || height == 0 || width == 0 {
        return Err(ReportError::Figure {
            input,
            expected: "shape [1 or 3, height, width]",
            found: format!("{:?}", image.dims()),
        });
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

/// As large as fits into a square of `side` pixels; single pixels stay visible when enlarged.
pub(super) fn fit(image: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let scale = f64::from(side) / f64::from(width.max(height));
    let scaled = |length: u32| ((f64::from(length) * scale).round() as u32).clamp(1, side);
    let filter = if scale > 1.0 { imageops::FilterType::Nearest } else { imageops::FilterType::Triangle };
    imageops::resize(image, scaled(width), scaled(height), filter)
}
