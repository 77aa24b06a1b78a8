//! Images in memory.

use std::sync::Arc;

use image::RgbImage;

use super::error::DataError;
use super::source::Source;

/// Pixels in memory; clones share them.
#[derive(Clone, PartialEq, Eq)]
pub struct MemoryImage(pub Arc<RgbImage>);

impl Source for MemoryImage {
    fn load(&self) -> Result<Arc<RgbImage>, DataError> {
        Ok(self.0.clone())
    }
}

impl std::fmt::Debug for MemoryImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemoryImage({} x {})", self.0.width(), self.0.height())
    }
}
