//! A mask for attacks, from a picture.

use std::path::Path;

use histoguard::attack::Mask;
use histoguard::data::{FileImage, ImageSet, LabeledImages, Prepared, Sample};
use histoguard::prelude::*;

use crate::common::failure::Failure;

/// The light pixels of a picture, brought to the size of the images as these are. It has the size of the
/// image (width and height of its file) that it belongs to, or the one to which images are brought.
pub fn read(path: &Path, image_size: usize, image: (u32, u32)) -> Result<Mask, Failure> {
    let sample = Sample::new(FileImage(path.to_path_buf()), 0, path.display().to_string());
    let set = ImageSet::new("a mask", vec!["mask".into(), String::new()], vec![sample])?;
    let picture = Prepared::new(set, image_size)?;
    let ((width, height), side) = (picture.original(0)?.dimensions(), image_size as u32);
    if ![image, (side, side)].contains(&(width, height)) {
        return Err(Failure::wrong(format!(
            "--mask: expected a picture of {}x{} pixels, as the image, or {side}x{side}, found {}: {width}x{height}",
            image.0,
            image.1,
            path.display()
        )));
    }
    let light = picture.batch(&[0], &Device::default())?.images.squeeze_dim(0);
    Mask::light(light).map_err(|_| {
        Failure::wrong(format!(
            "--mask: expected white where an attack may change the image, found {} without a light pixel",
            path.display()
        ))
    })
}
