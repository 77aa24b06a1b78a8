//! From an image of any size to a square, antialiased.

use std::cell::RefCell;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

/// A part of an image, in whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CropBox {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// One of the eight ways to lay a square: quarter turns against the clock, then flips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orientation {
    pub(crate) quarter_turns: u8,
    pub(crate) flip_horizontally: bool,
    pub(crate) flip_vertically: bool,
}

thread_local! {
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// The shorter side resized to `size`, then the central square: torchvision's `Resize(size)` and
/// `CenterCrop(size)`. Gives `[size, size, 3]` bytes. The parts that the crop takes away are never computed.
pub(crate) fn center(image: &RgbImage, size: u32) -> Vec<u8> {
    let (width, height) = image.dimensions();
    let short = f64::from(width.min(height));
    let resized = |side: u32| (f64::from(size) * f64::from(side) / short).floor().max(f64::from(size));
    let (new_width, new_height) = (resized(width), resized(height));
    // torchvision rounds the crop's corner half to even, as Python does.
    let left = ((new_width - f64::from(size)) / 2.0).round_ties_even();
    let top = ((new_height - f64::from(size)) / 2.0).round_ties_even();
    let (scale_x, scale_y) = (f64::from(width) / new_width, f64::from(height) / new_height);
    let crop_width = (f64::from(size) * scale_x).min(f64::from(width) - left * scale_x);
    let crop_height = (f64::from(size) * scale_y).min(f64::from(height) - top * scale_y);
    let options = ResizeOptions::new().crop(left * scale_x, top * scale_y, crop_width, crop_height);
    let whole = CropBox { left: 0, top: 0, width, height };
    resize(image, whole, size, options)
}

/// A part of the image resized to a square, without a look at the pixels around it: torchvision's
/// `resized_crop`. Gives `[size, size, 3]` bytes.
pub(crate) fn resized_crop(image: &RgbImage, part: CropBox, size: u32) -> Vec<u8> {
    resize(image, part, size, ResizeOptions::new())
}

/// Writes `[size, size, 3]` bytes as `[3, size, size]` values in \[0,1\], laid as the orientation says.
///
/// # Panics
///
/// Panics if `out` has not the length of `pixels`.
pub(crate) fn write_unit(pixels: &[u8], size: usize, orientation: Orientation, out: &mut [f32]) {
    assert_eq!(out.len(), pixels.len(), "three channels of a square");
    let last = size as isize - 1;
    // Where the value of a target pixel comes from. It is linear in x and y, so three points give it all.
    let source = |mut y: isize, mut x: isize| {
        if orientation.flip_horizontally {
            x = last - x;
        }
        if orientation.flip_vertically {
            y = last - y;
        }
        let (y, x) = match orientation.quarter_turns % 4 {
            0 => (y, x),
            1 => (x, last - y),
            2 => (last - y, last - x),
            _ => (last - x, y),
        };
        3 * (y * size as isize + x)
    };
    let origin = source(0, 0);
    let (step_y, step_x) = (source(1, 0) - origin, source(0, 1) - origin);
    let (red, rest) = out.split_at_mut(size * size);
    let (green, blue) = rest.split_at_mut(size * size);
    for y in 0..size {
        let row = y * size..(y + 1) * size;
        let mut place = origin + step_y * y as isize;
        let channels = red[row.clone()].iter_mut().zip(&mut green[row.clone()]).zip(&mut blue[row]);
        for ((r, g), b) in channels {
            let pixel = &pixels[place as usize..place as usize + 3];
            *r = unit(pixel[0]);
            *g = unit(pixel[1]);
            *b = unit(pixel[2]);
            place += step_x;
        }
    }
}

/// Divided, not multiplied by the reciprocal: the same rounding as torchvision's `ToTensor`.
fn unit(value: u8) -> f32 {
    f32::from(value) / 255.0
}

/// Of one type of pixel and one of view: the untyped `Resizer::resize` is megabytes of code for all the
/// others.
fn resize(image: &RgbImage, part: CropBox, size: u32, options: ResizeOptions) -> Vec<u8> {
    let source = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image.as_raw())
        .expect("three bytes a pixel, as the image crate guarantees");
    let CropBox { left, top, width, height } = part;
    let source = TypedCroppedImage::from_ref(&source, left, top, width, height)
        .expect("a crop box inside its image, by construction");
    let mut pixels = vec![0; size as usize * size as usize * 3];
    let mut target = TypedImage::<U8x3>::from_buffer(size, size, &mut pixels)
        .expect("three bytes a pixel, from the line above");
    let options = options.resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    RESIZER
        .with_borrow_mut(|resizer| resizer.resize_typed(&source, &mut target, &options))
        .expect("a crop box inside its image, by construction");
    pixels
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn eight_orientations_of_a_square() {
        // 0 1
        // 2 3, one value in all channels.
        let pixels: Vec<u8> = (0..4).flat_map(|v| [v; 3]).collect();
        let laid = |quarter_turns, flip_horizontally, flip_vertically| {
            let orientation = Orientation { quarter_turns, flip_horizontally, flip_vertically };
            let mut out = [0.0; 12];
            write_unit(&pixels, 2, orientation, &mut out);
            assert_eq!((&out[..4], &out[..4]), (&out[4..8], &out[8..]));
            [0, 1, 2, 3].map(|i| (out[i] * 255.0).round() as u8)
        };
        assert_eq!(laid(0, false, false), [0, 1, 2, 3]);
        assert_eq!(laid(0, true, false), [1, 0, 3, 2]);
        assert_eq!(laid(0, false, true), [2, 3, 0, 1]);
        // As numpy.rot90, against the clock.
        assert_eq!(laid(1, false, false), [1, 3, 0, 2]);
        assert_eq!(laid(2, false, false), [3, 2, 1, 0]);
        assert_eq!(laid(3, false, false), [2, 0, 3, 1]);
        assert_eq!(laid(1, true, false), [3, 1, 2, 0]);
    }

    #[test]
    fn an_image_of_the_right_size_is_not_touched() {
        let image = RgbImage::from_fn(6, 6, |x, y| Rgb([x as u8, y as u8, 9]));
        assert_eq!(center(&image, 6), image.into_raw());
    }

    #[test]
    fn a_crop_of_the_right_size_is_copied() {
        let image = RgbImage::from_fn(9, 7, |x, y| Rgb([x as u8, y as u8, 9]));
        let cropped = resized_crop(&image, CropBox { left: 2, top: 1, width: 3, height: 3 }, 3);
        assert_eq!(cropped[..6], [2, 1, 9, 3, 1, 9]);
        assert_eq!(cropped[9..12], [2, 2, 9]);
    }

    /// The same picture as `picture` in tests/golden/resize.py.
    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let check = if (x / 5 + y / 4) % 2 == 0 { 230 } else { 20 };
            Rgb([((x * 7 + y * 3) % 256) as u8, ((x * y) % 256) as u8, check])
        })
    }

    /// PIL rounds between its two passes as we do; what is left is the last bit of its weights.
    fn assert_near(pixels: &[u8], golden: &Value) {
        let golden: Vec<u8> = serde_json::from_value(golden.clone()).unwrap();
        assert_eq!(pixels.len(), golden.len());
        let worst = pixels.iter().zip(&golden).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(1), "{worst:?}");
    }

    /// torchvision's `Resize` + `CenterCrop` and `resized_crop` on PIL images; tests/golden/resize.py wrote
    /// the values.
    #[test]
    fn squares_match_torchvision() {
        let golden: Value = serde_json::from_str(include_str!("../../../tests/golden/resize.json")).unwrap();
        let number = |case: &Value, key: &str| case[key].as_u64().unwrap() as u32;
        for case in golden["centers"].as_array().unwrap() {
            let image = picture(number(case, "width"), number(case, "height"));
            assert_near(&center(&image, number(case, "size")), &case["pixels"]);
        }
        for case in golden["crops"].as_array().unwrap() {
            let [left, top, width, height] = ["left", "top", "width", "height"].map(|key| number(case, key));
            let part = CropBox { left, top, width, height };
            assert_near(&resized_crop(&picture(70, 46), part, number(case, "size")), &case["pixels"]);
        }
    }

    proptest! {
        #[test]
        fn any_size_gives_a_square(width in 1_u32..400, height in 1_u32..400, size in 1_u32..300) {
            let image = RgbImage::from_pixel(width, height, Rgb([10, 200, 30]));
            let pixels = center(&image, size);
            prop_assert_eq!(pixels.len(), (size * size * 3) as usize);
            prop_assert!(pixels.chunks(3).all(|p| p == [10, 200, 30]));
        }
    }
}
