//! Images in files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;

use super::error::DataError;
use super::image::{exif_orientation, read_image};
use super::source::Source;

/// An image file (PNG, JPEG, TIFF or BMP), read as by [`read_image`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileImage(pub PathBuf);

impl Source for FileImage {
    fn load(&self) -> Result<Arc<RgbImage>, DataError> {
        read_image(&self.0).map(Arc::new)
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.0)
    }

    fn ignored_orientation(&self) -> Option<u8> {
        exif_orientation(&self.0).ok().flatten()
    }
}
