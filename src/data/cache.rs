//! Decoded images kept in memory, so that every file is read once and not once an epoch.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use image::RgbImage;

use super::{DataError, ImageSet};

/// Decoded images as 8-bit RGB in their own size, up to a limit in bytes; clones share the memory.
///
/// Images that no longer fit are decoded each time. None is thrown out for another: epochs visit all images
/// in turn, where the least recently used one is the next one wanted.
#[derive(Clone)]
pub struct ImageCache {
    limit: usize,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    bytes: usize,
    images: HashMap<(u64, u64), Arc<RgbImage>>,
}

impl ImageCache {
    /// 2 GiB: the paper's 1,547 images in full size take 1.5.
    pub const DEFAULT_LIMIT: usize = 2 << 30;

    /// An empty cache of at most `limit` bytes; 0 keeps nothing.
    pub fn new(limit: usize) -> Self {
        Self { limit, kept: Arc::default() }
    }

    /// Bytes of the images kept.
    pub fn bytes(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// The image at a position of the set, from memory if it is there.
    pub(crate) fn load(&self, images: &ImageSet, position: usize) -> Result<Arc<RgbImage>, DataError> {
        let sample = &images.samples()[position];
        let key = (images.id(), sample.index);
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = lock().images.get(&key) {
            return Ok(image.clone());
        }
        let image = sample.source.load()?;
        let mut kept = lock();
        let bytes = image.as_raw().len();
        if kept.bytes.saturating_add(bytes) <= self.limit && kept.images.insert(key, image.clone()).is_none()
        {
            kept.bytes += bytes;
        }
        Ok(image)
    }
}

impl Default for ImageCache {
    fn default() -> Self {
        Self::new(Self::DEFAULT_LIMIT)
    }
}

impl fmt::Debug for ImageCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageCache").field("limit", &self.limit).field("bytes", &self.bytes()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{FileImage, Sample};

    #[test]
    fn keeps_images_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let samples = (0..3).map(|i| {
            let path = folder.path().join(format!("{i}.png"));
            RgbImage::from_pixel(4, 5, image::Rgb([i; 3])).save(&path).unwrap();
            Sample::new(FileImage(path), 0, i.to_string())
        });
        let set = ImageSet::new("", vec!["a".into()], samples.collect()).unwrap();
        let cache = ImageCache::new(2 * 60 + 59);
        for position in 0..3 {
            cache.load(&set, position).unwrap();
        }
        assert_eq!(cache.bytes(), 120);
        drop(folder);
        // The first two no longer need their files; subsets and clones share what is kept.
        let cache = cache.clone();
        assert_eq!(cache.load(&set.subset(&[1]), 0).unwrap().get_pixel(0, 0).0, [1; 3]);
        assert!(cache.load(&set, 2).is_err());
    }
}
