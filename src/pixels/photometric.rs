//! What a camera's focus and electronics do to an image.

use burn::tensor::{Tensor, TensorData};

use super::separable::{Separable, blur_rows};

/// The shares of red, green and blue in the brightness of a pixel, as torchvision has them
/// (`rgb_to_grayscale`).
const LUMA: [f32; 3] = [0.2989, 0.587, 0.114];

/// A Gaussian blur of this standard deviation in pixels, at least 0: `scipy.ndimage.gaussian_filter` of each
/// channel, with images that go on mirrored beyond their ends.
///
/// # Shapes
///
/// - `images`, output: `[batch, channels, height, width]`
pub fn gaussian_blur(images: Tensor<4>, sigma: f64) -> Tensor<4> {
    let [.., height, width] = images.dims();
    Separable::new(vec![(blur_rows(height, sigma), blur_rows(width, sigma))], &images).apply(images)
}

/// So many times as bright, cut to \[0,1\]: torchvision's `adjust_brightness`.
///
/// # Shapes
///
/// - `images`, output: `[batch, channels, height, width]`, values in \[0,1\]
pub fn brightness(images: Tensor<4>, factor: f64) -> Tensor<4> {
    (images * factor).clamp(0.0, 1.0)
}

/// So many times as far from the image's mean brightness, cut to \[0,1\]: torchvision's `adjust_contrast`.
///
/// # Shapes
///
/// - `images`, output: `[batch, channels, height, width]`, values in \[0,1\]; with three channels they are
///   red, green and
///   blue
pub fn contrast(images: Tensor<4>, factor: f64) -> Tensor<4> {
    let [_, channels, ..] = images.dims();
    let shares = if channels == 3 { LUMA.to_vec() } else { vec![1.0 / channels as f32; channels] };
    let shares = Tensor::<4>::from_data(TensorData::new(shares, [1, channels, 1, 1]), &images.device());
    let mean = (images.clone().mean_dims(&[2, 3]) * shares).sum_dims(&[1]);
    (images * factor + mean * (1.0 - factor)).clamp(0.0, 1.0)
}
