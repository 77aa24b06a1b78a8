//! Pictures out: 8-bit PNG files, whole or not at all.

use std::path::Path;

use burn::tensor::Tensor;
use image::{ImageFormat, RgbImage};

use super::DataError;
use crate::file::{IoError, write_whole};

/// An image `[3, height, width]` with values in \[0,1\] as 8-bit RGB: clipped, rounded to the nearest of 256
/// grey levels, NaN as black.
///
/// # Panics
///
/// Panics if the image has not three channels.
pub fn to_rgb(image: Tensor<3>) -> RgbImage {
    let [channels, height, width] = image.dims();
    assert_eq!(channels, 3, "an image [3, height, width]");
    let values: Vec<f32> = image.into_data().convert::<f32>().try_into_vec().expect("f32 after conversion");
    let plane = height * width;
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let at = y as usize * width + x as usize;
        image::Rgb([0, 1, 2].map(|channel| (values[channel * plane + at] * 255.0).round() as u8))
    })
}

/// The bytes of a PNG file.
pub fn encode(image: &RgbImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).expect("RGB with 8 bits in memory");
    bytes.into_inner()
}

/// Writes a PNG file beside its place and renames it; missing folders are made.
///
/// # Errors
///
/// [`DataError::Io`] if the file cannot be written.
pub fn write(image: &RgbImage, path: &Path) -> Result<(), DataError> {
    let failed = IoError::at(path, "a PNG file that can be written");
    Ok(write_whole(path, &encode(image)).map_err(failed)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn what_is_read_back_is_the_nearest_grey_level() {
        let values = [0.0, 1.0, 0.5, 0.499 / 255.0, 0.501 / 255.0, -1.0, 2.0, f32::NAN, 0.2, 0.4, 0.6, 0.8];
        let image = Tensor::<1>::from_floats(values, &Device::default()).reshape([3, 2, 2]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/picture.png");
        write(&to_rgb(image), &path).unwrap();
        let read = super::super::read_image(&path).unwrap();
        let planes: Vec<u8> = (0..3).flat_map(|c| read.pixels().map(move |pixel| pixel.0[c])).collect();
        assert_eq!(planes, [0, 255, 128, 0, 1, 0, 255, 0, 51, 102, 153, 204]);
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing half-written is left"
        );
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let error = write(&RgbImage::new(1, 1), &file.join("picture.png")).unwrap_err();
        assert!(error.to_string().contains("picture.png"), "{error}");
    }
}
