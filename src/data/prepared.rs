//! Images of a set as a network takes them: squares of one size.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use image::RgbImage;
use rayon::prelude::*;

use super::image::{Orientation, center, write_unit};
use super::{Augmentation, Batch, DataError, ImageCache, ImageSet, LabeledImages};
use crate::parameter::Parameter;
use crate::random::{Purpose, generator};

/// A set's images resized to one size: shorter side to `image_size`, central square, antialiased as by
/// torchvision's `Resize` and `CenterCrop`. Reads and resizes in parallel and keeps decoded images in an
/// [`ImageCache`].
///
/// ```
/// use burn::tensor::Device;
/// use histoguard::data::{LabeledImages, Prepared, SyntheticTissue};
///
/// let images = SyntheticTissue { image_size: [70, 46], ..SyntheticTissue::default() }.images()?;
/// let prepared = Prepared::new(images, 32)?;
/// let batch = prepared.batch(&[0, 5], &Device::default())?;
/// assert_eq!(batch.images.dims(), [2, 3, 32, 32]);
/// # Ok::<(), histoguard::data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Prepared {
    images: ImageSet,
    image_size: usize,
    cache: ImageCache,
}

impl Prepared {
    /// Largest image size, in pixels.
    pub const MAX_IMAGE_SIZE: usize = 4096;

    /// The set's images as squares of `image_size` pixels, with a cache of
    /// [default size](ImageCache::DEFAULT_LIMIT).
    ///
    /// # Errors
    ///
    /// [`DataError::Parameter`] if `image_size` is not 1 to 4096.
    pub fn new(images: ImageSet, image_size: usize) -> Result<Self, DataError> {
        let fits = (1..=Self::MAX_IMAGE_SIZE).contains(&image_size);
        Parameter::new("image_size", "1 to 4096 pixels", fits, image_size).check()?;
        Ok(Self { images, image_size, cache: ImageCache::default() })
    }

    /// The same with this cache; give one to all sides of a split for one limit over all.
    #[must_use]
    pub fn with_cache(self, cache: ImageCache) -> Self {
        Self { cache, ..self }
    }

    /// The set.
    pub fn images(&self) -> &ImageSet {
        &self.images
    }

    /// Width and height in pixels.
    pub fn image_size(&self) -> usize {
        self.image_size
    }

    /// The cache.
    pub fn cache(&self) -> &ImageCache {
        &self.cache
    }

    /// The images at these positions, with the same cache; they keep their indices.
    ///
    /// # Panics
    ///
    /// Panics if a position is past the end.
    #[must_use]
    pub fn subset(&self, positions: &[usize]) -> Self {
        Self { images: self.images.subset(positions), ..self.clone() }
    }

    /// One image in its own size.
    ///
    /// # Errors
    ///
    /// [`DataError`] if it cannot be read.
    ///
    /// # Panics
    ///
    /// Panics if the position is past the end.
    pub fn original(&self, position: usize) -> Result<Arc<RgbImage>, DataError> {
        self.cache.load(&self.images, position)
    }

    /// One image as a square of `image_size`.
    ///
    /// # Errors
    ///
    /// [`DataError`] if it cannot be read.
    ///
    /// # Panics
    ///
    /// Panics if the position is past the end.
    pub fn square(&self, position: usize) -> Result<RgbImage, DataError> {
        let (size, original) = (self.image_size as u32, self.original(position)?);
        let pixels = center(&original, size);
        Ok(RgbImage::from_raw(size, size, pixels).expect("three bytes a pixel"))
    }

    /// Writes one image as `[3, image_size, image_size]` values in \[0,1\].
    pub(crate) fn write(&self, position: usize, out: &mut [f32]) -> Result<(), DataError> {
        let original = self.original(position)?;
        let pixels = center(&original, self.image_size as u32);
        write_unit(&pixels, self.image_size, Orientation::default(), out);
        Ok(())
    }

    /// Writes a random view of one image, drawn from the seed, the epoch and its index.
    pub(crate) fn write_view(
        &self,
        position: usize,
        augmentation: &Augmentation,
        (seed, epoch): (u64, usize),
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let image = self.original(position)?;
        let index = self.images.samples()[position].index;
        let mut rng = generator(Purpose::AUGMENTATION, seed, &[epoch as u64, index]);
        let view = augmentation.draw(image.width(), image.height(), &mut rng);
        view.write(&image, self.image_size as u32, out);
        Ok(())
    }

    /// Random views of the images at these positions, those that an [`ImageLoader`](super::ImageLoader) of
    /// this seed gives in this epoch: an image's view is its own, whatever the batch.
    ///
    /// # Errors
    ///
    /// [`DataError`] on an augmentation out of its range, or an image that cannot be read.
    ///
    /// # Panics
    ///
    /// Panics if a position is past the end.
    pub fn views(
        &self,
        positions: &[usize],
        augmentation: Augmentation,
        (seed, epoch): (u64, usize),
        device: &Device,
    ) -> Result<Batch, DataError> {
        augmentation.validate()?;
        self.assembled(positions, epoch, device, |position, out| {
            self.write_view(position, &augmentation, (seed, epoch), out)
        })
    }

    /// What `write` makes of the images at these positions.
    fn assembled(
        &self,
        positions: &[usize],
        epoch: usize,
        device: &Device,
        write: impl Fn(usize, &mut [f32]) -> Result<(), DataError> + Sync,
    ) -> Result<Batch, DataError> {
        let mut values = vec![0.0; positions.len() * self.values()];
        let work = values.par_chunks_mut(self.values()).zip(positions);
        let results: Vec<Result<(), DataError>> = work.map(|(out, &p)| write(p, out)).collect();
        // Not the first thread's error but the first image's, so that a run fails the same way twice.
        results.into_iter().collect::<Result<(), _>>()?;
        let samples = positions.iter().map(|&position| &self.images.samples()[position]);
        let (labels, indices) = samples.map(|sample| (sample.label as i64, sample.index)).unzip();
        Ok(assemble(values, labels, indices, self.image_size, epoch, device))
    }

    /// Number of values in an image.
    pub(crate) fn values(&self) -> usize {
        3 * self.image_size * self.image_size
    }
}

impl LabeledImages for Prepared {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn classes(&self) -> &[String] {
        self.images.classes()
    }

    fn label(&self, position: usize) -> usize {
        self.images.samples()[position].label
    }

    fn group(&self, position: usize) -> String {
        self.images.samples()[position].group.clone()
    }

    fn name(&self, position: usize) -> String {
        self.images.samples()[position].name.clone()
    }

    fn is_synthetic(&self) -> bool {
        self.images.is_synthetic()
    }

    fn batch(&self, positions: &[usize], device: &Device) -> Result<Batch, DataError> {
        self.assembled(positions, 0, device, |position, out| self.write(position, out))
    }
}

/// Values of all images and their labels as tensors.
pub(crate) fn assemble(
    values: Vec<f32>,
    labels: Vec<i64>,
    indices: Vec<u64>,
    size: usize,
    epoch: usize,
    device: &Device,
) -> Batch {
    let images = TensorData::new(values, [labels.len(), 3, size, size]);
    Batch {
        images: Tensor::from_data(images, device),
        labels: Tensor::<1, Int>::from_data(labels.as_slice(), device),
        indices,
        epoch,
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::data::{FileImage, MemoryImage, Sample};

    fn memory(count: u8) -> ImageSet {
        let samples = (0..count).map(|i| {
            let image = RgbImage::from_fn(9, 7, |x, y| Rgb([i, 10 * x as u8, 10 * y as u8]));
            Sample::new(MemoryImage(Arc::new(image)), usize::from(i % 2), i.to_string())
        });
        ImageSet::new("made up", vec!["a".into(), "b".into()], samples.collect()).unwrap()
    }

    #[test]
    fn batches_hold_what_was_asked_for() {
        let prepared = Prepared::new(memory(5), 7).unwrap().subset(&[4, 1, 3]);
        let batch = prepared.batch(&[2, 0], &Device::default()).unwrap();
        assert_eq!(batch.images.dims(), [2, 3, 7, 7]);
        assert_eq!(batch.labels.into_data().iter::<i64>().collect::<Vec<_>>(), [1, 0]);
        assert_eq!(batch.indices, [3, 4]);
        assert_eq!(batch.epoch, 0);
        let values = batch.images.into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(values[0], 3.0 / 255.0);
        assert_eq!(values[3 * 49], 4.0 / 255.0);
        // 9 wide, 7 high, size 7: nothing is resized, one column goes on either side.
        assert_eq!(values[49..56], [10, 20, 30, 40, 50, 60, 70].map(|v| v as f32 / 255.0));
        assert_eq!(values[98..105], [0.0; 7]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let samples = vec![Sample::new(FileImage("/nowhere/x.png".into()), 0, "x")];
        let set = ImageSet::new("", vec!["a".into()], samples).unwrap();
        let error = Prepared::new(set, 8).unwrap().batch(&[0], &Device::default()).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/x.png: expected a readable image file"), "{error}");
    }

    #[test]
    fn sizes_are_checked_at_their_edges() {
        for (size, fits) in [(0, false), (1, true), (4096, true), (4097, false)] {
            assert_eq!(Prepared::new(memory(1), size).is_ok(), fits, "{size}");
        }
    }
}
