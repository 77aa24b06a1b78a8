//! Batches for training and validation, prepared in the background while the network works.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::prepared::assemble;
use super::{Batch, DataError, LabeledImages, LoaderConfig, OnError, Prepared, Skipped};
use crate::random::{Purpose, generator};

/// burn's data loader over [`Prepared`] images.
///
/// Every [`iter`](DataLoader::iter) is an epoch. The order comes from (seed, epoch) and an image's view from
/// (seed, epoch, index), so that neither the batch size nor the number of threads changes what is drawn, and
/// a run that starts at epoch n goes on as if it had never stopped. Reading, resizing and augmenting run in
/// parallel in the background, a few batches ahead; tensors are made by the thread that asks for them.
///
/// An image that cannot be read ends the epoch with an error, or under [`OnError::Skip`] is left out of its
/// batch and named by [`skipped`](Self::skipped).
///
/// ```
/// use burn::data::dataloader::DataLoader;
/// use burn::tensor::Device;
/// use histoguard::data::{Augmentation, ImageLoader, LoaderConfig, Prepared, SyntheticTissue};
///
/// let images = SyntheticTissue { image_size: [70, 46], ..SyntheticTissue::default() }.images()?;
/// let config = LoaderConfig {
///     augmentation: Some(Augmentation::paper()),
///     ..LoaderConfig::training(4, 0)
/// };
/// let loader = ImageLoader::new(Prepared::new(images, 32)?, config, &Device::default())?;
/// let batch = loader.iter().next().expect("a first batch")?;
/// assert_eq!((batch.images.dims(), batch.epoch), ([4, 3, 32, 32], 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ImageLoader {
    images: Arc<Prepared>,
    config: LoaderConfig,
    device: Device,
    next_epoch: AtomicUsize,
    skipped: Arc<Mutex<BTreeMap<PathBuf, String>>>,
    /// Which part of every batch, of how many.
    part: (usize, usize),
}

impl ImageLoader {
    /// A loader of these images whose batches are on this device.
    ///
    /// # Errors
    ///
    /// [`DataError::Parameter`] if a setting is out of its range.
    pub fn new(images: Prepared, config: LoaderConfig, device: &Device) -> Result<Self, DataError> {
        config.validate()?;
        Ok(Self {
            images: Arc::new(images),
            config,
            device: device.clone(),
            next_epoch: AtomicUsize::new(config.starting_epoch),
            skipped: Arc::default(),
            part: (0, 1),
        })
    }

    /// The images.
    pub fn images(&self) -> &Prepared {
        &self.images
    }

    /// The settings.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// Images left out so far under [`OnError::Skip`], each once, sorted by path; also those that loaders
    /// made from this one left out.
    pub fn skipped(&self) -> Vec<Skipped> {
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.iter().map(|(path, reason)| Skipped { path: path.clone(), reason: reason.clone() }).collect()
    }

    /// The same images on another device, with a count of epochs of its own.
    fn derive(&self, images: Arc<Prepared>, device: &Device) -> Self {
        Self {
            images,
            config: self.config,
            device: device.clone(),
            next_epoch: AtomicUsize::new(self.next_epoch.load(Ordering::Relaxed)),
            skipped: self.skipped.clone(),
            part: self.part,
        }
    }

    /// The same batches, of each of which only one of so many parts comes: for devices that share them.
    #[cfg(feature = "train")]
    pub(crate) fn part(&self, part: usize, parts: usize) -> Self {
        Self { part: (part, parts), ..self.derive(self.images.clone(), &self.device) }
    }
}

impl DataLoader<Batch> for ImageLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        let epoch = if self.config.training { self.next_epoch.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let worker = Worker {
            order: order(&self.images, &self.config, epoch),
            images: self.images.clone(),
            config: self.config,
            epoch,
            skipped: self.skipped.clone(),
            part: self.part,
        };
        let total = worker.items();
        let (sender, receiver) = sync_channel(self.config.prefetch);
        let thread = std::thread::spawn(move || {
            for range in worker.ranges() {
                let raw = worker.load(range);
                let stop = raw.is_err();
                // The other end is gone when the caller stopped early.
                if sender.send(raw).is_err() || stop {
                    break;
                }
            }
        });
        let (size, device) = (self.images.image_size(), &self.device);
        Box::new(Batches {
            receiver: Some(receiver),
            thread: Some(thread),
            done: 0,
            total,
            size,
            epoch,
            device,
        })
    }

    fn num_items(&self) -> usize {
        self.config.ranges(self.images.len(), self.part).map(|range| range.len()).sum()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(self.derive(self.images.clone(), device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        let end = end.min(self.images.len());
        let positions: Vec<usize> = (start.min(end)..end).collect();
        Arc::new(self.derive(Arc::new(self.images.subset(&positions)), &self.device))
    }
}

/// Positions of the images in the order of this epoch.
fn order(images: &Prepared, config: &LoaderConfig, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images.len()).collect();
    if config.training {
        order.shuffle(&mut generator(Purpose::SHUFFLE, config.seed, &[epoch as u64]));
    }
    order
}

/// A batch before it becomes tensors.
struct RawBatch {
    values: Vec<f32>,
    labels: Vec<i64>,
    indices: Vec<u64>,
    /// Images gone through, those left out among them.
    visited: usize,
}

/// What prepares the batches of one epoch.
struct Worker {
    order: Vec<usize>,
    images: Arc<Prepared>,
    config: LoaderConfig,
    epoch: usize,
    skipped: Arc<Mutex<BTreeMap<PathBuf, String>>>,
    part: (usize, usize),
}

impl Worker {
    fn items(&self) -> usize {
        self.ranges().map(|range| range.len()).sum()
    }

    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.config.ranges(self.order.len(), self.part)
    }

    fn load(&self, range: Range<usize>) -> Result<RawBatch, DataError> {
        let (positions, length) = (&self.order[range], self.images.values());
        let mut values = vec![0.0; positions.len() * length];
        let work = values.par_chunks_mut(length).zip(positions);
        let results: Vec<_> = work.map(|(out, &position)| self.write(position, out)).collect();
        let samples = self.images.images().samples();
        let mut batch = RawBatch { values, labels: vec![], indices: vec![], visited: positions.len() };
        for (place, (result, &position)) in results.into_iter().zip(positions).enumerate() {
            let sample = &samples[position];
            match (result, self.config.on_error) {
                (Ok(()), _) => {
                    let kept = batch.labels.len();
                    if kept < place {
                        batch.values.copy_within(place * length..(place + 1) * length, kept * length);
                    }
                    batch.labels.push(sample.label as i64);
                    batch.indices.push(sample.index);
                }
                (Err(error), OnError::Fail) => return Err(error),
                (Err(error), OnError::Skip) => {
                    let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
                    skipped.insert(sample.path(), error.to_string());
                }
            }
        }
        batch.values.truncate(batch.labels.len() * length);
        Ok(batch)
    }

    fn write(&self, position: usize, out: &mut [f32]) -> Result<(), DataError> {
        let Some(augmentation) = self.config.augmentation.filter(|_| self.config.training) else {
            return self.images.write(position, out);
        };
        self.images.write_view(position, &augmentation, (self.config.seed, self.epoch), out)
    }
}

/// The batches of one epoch as they come from the background.
struct Batches<'a> {
    receiver: Option<Receiver<Result<RawBatch, DataError>>>,
    thread: Option<JoinHandle<()>>,
    done: usize,
    total: usize,
    size: usize,
    epoch: usize,
    device: &'a Device,
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Ok(raw) = self.receiver.as_ref()?.recv() else {
                self.receiver = None;
                if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                    std::panic::resume_unwind(panic);
                }
                return None;
            };
            let raw = match raw {
                Ok(raw) => raw,
                Err(error) => {
                    self.receiver = None;
                    return Some(Err(DatasetError::new(error)));
                }
            };
            self.done += raw.visited;
            // A batch without a readable image is passed over.
            if !raw.labels.is_empty() {
                let RawBatch { values, labels, indices, .. } = raw;
                return Some(Ok(assemble(values, labels, indices, self.size, self.epoch, self.device)));
            }
        }
    }
}

impl DataLoaderIterator<Batch> for Batches<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total, Some("items".to_string()))
    }
}

impl Drop for Batches<'_> {
    fn drop(&mut self) {
        // First the channel: the thread stops at its next send.
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;
    use crate::data::{Augmentation, FileImage, ImageSet, MemoryImage, Sample};

    fn images(count: u8) -> Prepared {
        let samples = (0..count).map(|i| {
            let image = RgbImage::from_fn(20, 16, |x, y| Rgb([i, 12 * x as u8, 15 * y as u8]));
            Sample::new(MemoryImage(Arc::new(image)), usize::from(i % 2), i.to_string())
        });
        let set = ImageSet::new("made up", vec!["a".into(), "b".into()], samples.collect()).unwrap();
        Prepared::new(set, 8).unwrap()
    }

    fn training(batch_size: usize) -> LoaderConfig {
        let augmentation = Some(Augmentation { quarter_turns: true, ..Augmentation::paper() });
        LoaderConfig { augmentation, ..LoaderConfig::training(batch_size, 9) }
    }

    fn loader(images: Prepared, config: LoaderConfig) -> ImageLoader {
        ImageLoader::new(images, config, &Device::default()).unwrap()
    }

    /// Index and values of every image of an epoch, in order.
    fn epoch(loader: &dyn DataLoader<Batch>) -> Vec<(u64, Vec<f32>)> {
        let mut seen = Vec::new();
        for batch in loader.iter() {
            let batch = batch.unwrap();
            let values = batch.images.into_data().try_into_vec::<f32>().unwrap();
            let each = values.len() / batch.indices.len();
            seen.extend(batch.indices.into_iter().zip(values.chunks(each).map(<[f32]>::to_vec)));
        }
        seen
    }

    fn indices(loader: &dyn DataLoader<Batch>) -> Vec<u64> {
        epoch(loader).into_iter().map(|(index, _)| index).collect()
    }

    #[test]
    fn epochs_differ_and_do_not_depend_on_batches_or_threads() {
        let one = loader(images(11), training(4));
        let (first, second) = (epoch(&one), epoch(&one));
        assert_ne!(first, second);
        let mut all: Vec<u64> = first.iter().map(|(index, _)| *index).collect();
        all.sort_unstable();
        assert_eq!(all, (0..11).collect::<Vec<_>>());
        let other = loader(images(11), LoaderConfig { prefetch: 1, ..training(3) });
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(single.install(|| epoch(&other)), first);
        // Image by image the two epochs show different views, not only another order.
        let view = |epoch: &[(u64, Vec<f32>)]| epoch.iter().find(|(i, _)| *i == 3).unwrap().1.clone();
        assert_ne!(view(&first), view(&second));
    }

    #[test]
    fn views_of_the_images_by_position_are_those_of_the_epoch() {
        let (images, config) = (images(11), training(4));
        let seen = epoch(&loader(images.clone(), LoaderConfig { starting_epoch: 2, ..config }));
        let views = |positions: &[usize], augmentation| {
            images.views(positions, augmentation, (config.seed, 2), &Device::default())
        };
        let augmentation = config.augmentation.unwrap();
        for (index, expected) in seen.chunks(2).map(|pair| &pair[0]) {
            let batch = views(&[5, *index as usize], augmentation).unwrap();
            assert_eq!((batch.indices, batch.epoch), (vec![5, *index], 2));
            assert_eq!(&batch.images.into_data().try_into_vec::<f32>().unwrap()[3 * 64..], expected);
        }
        let wrong = Augmentation { crop_scale: (0.0, 1.0), ..augmentation };
        assert!(views(&[0], wrong).unwrap_err().to_string().starts_with("crop_scale: "));
    }

    #[test]
    fn a_later_start_goes_on_as_if_never_stopped() {
        let whole = loader(images(11), training(4));
        epoch(&whole);
        let resumed = loader(images(11), LoaderConfig { starting_epoch: 2, ..training(4) });
        assert_eq!(resumed.iter().next().unwrap().unwrap().epoch, 2);
        let (second, third) = (epoch(&whole), epoch(&whole));
        assert_ne!(second, third);
        assert_eq!(epoch(&resumed), third);
        let moved = loader(images(11), training(4)).to_device(&Device::default());
        assert_eq!(moved.iter().next().unwrap().unwrap().epoch, 1);
    }

    #[test]
    fn validation_keeps_the_order_and_the_square() {
        let prepared = images(5);
        let all = loader(prepared.clone(), LoaderConfig::validation(2));
        assert_eq!(indices(&all), [0, 1, 2, 3, 4]);
        assert_eq!(epoch(&all), epoch(&all));
        let batch = all.iter().next().unwrap().unwrap();
        assert_eq!(batch.epoch, 0);
        let direct = prepared.batch(&[0, 1], &Device::default()).unwrap();
        batch.images.into_data().assert_eq(&direct.images.into_data(), true);
        assert_eq!(indices(all.slice(1, 3).as_ref()), [1, 2]);
        assert_eq!(all.slice(3, 99).num_items(), 2);
    }

    #[test]
    fn incomplete_batches_and_progress() {
        let drop = loader(images(11), LoaderConfig { drop_last: true, ..training(4) });
        assert_eq!((drop.num_items(), indices(&drop).len()), (8, 8));
        let only = loader(images(3), LoaderConfig { drop_last: true, ..training(4) });
        assert_eq!(indices(&only).len(), 3);
        let all = loader(images(11), training(4));
        let mut iterator = all.iter();
        let mut progress = Vec::new();
        while let Some(batch) = iterator.next() {
            batch.unwrap();
            progress.push(iterator.progress().items_processed);
        }
        assert_eq!(progress, [4, 8, 11]);
        assert!(iterator.progress().is_completed());
        // Leaving an epoch early ends its thread.
        let _ = all.iter().next();
    }

    #[test]
    fn damaged_images_end_the_epoch_or_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let samples = (0..6).map(|i| {
            let path = folder.path().join(format!("{i}.png"));
            RgbImage::from_pixel(9, 9, Rgb([i; 3])).save(&path).unwrap();
            if i == 1 || i > 3 {
                std::fs::write(&path, b"\x89PNG\r\n\x1a\n").unwrap();
            }
            Sample::new(FileImage(path), 0, i.to_string())
        });
        let set = ImageSet::new("", vec!["a".into()], samples.collect()).unwrap();
        let prepared = Prepared::new(set, 8).unwrap();
        let fail = loader(prepared.clone(), LoaderConfig::validation(2));
        let results: Vec<_> = fail.iter().collect();
        assert_eq!(results.len(), 1);
        assert!(results[0].as_ref().unwrap_err().to_string().contains("1.png: expected a whole PNG image"));
        let skip = loader(prepared, LoaderConfig { on_error: OnError::Skip, ..LoaderConfig::validation(2) });
        for _ in 0..2 {
            let seen = epoch(&skip);
            let values: Vec<(u64, f32)> =
                seen.iter().map(|(index, values)| (*index, values[0] * 255.0)).collect();
            assert_eq!(values, [(0, 0.0), (2, 2.0), (3, 3.0)]);
        }
        assert_eq!(skip.skipped().len(), 3);
        assert!(skip.skipped()[0].path.ends_with("1.png"));
    }

    #[test]
    fn settings_are_checked() {
        let good = training(1);
        let scale = Augmentation { crop_scale: (0.0, 1.0), ..Augmentation::paper() };
        for config in [
            LoaderConfig { batch_size: 0, ..good },
            LoaderConfig { starting_epoch: 0, ..good },
            LoaderConfig { prefetch: 0, ..good },
            LoaderConfig { augmentation: Some(scale), ..good },
        ] {
            assert!(ImageLoader::new(images(2), config, &Device::default()).is_err(), "{config:?}");
        }
    }
}
