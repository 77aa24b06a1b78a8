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
use super::random::{Purpose, generator};
use super::{Augmentation, Batch, DataError, LabeledImages, OnError, Prepared, Skipped};

/// How an [`ImageLoader`] goes through its images.
///
/// | field | training | validation | purpose | range |
/// | --- | --- | --- | --- | --- |
/// | `batch_size` | given | given | images in a batch | 1 or more |
/// | `training` | true | false | a new random order every epoch, and epochs counted | |
/// | `seed` | given | 0 | random order and augmentation | |
/// | `starting_epoch` | 1 | 1 | first epoch, for going on after an interruption | 1 or more |
/// | `augmentation` | none | none | random views instead of the central square | see there |
/// | `drop_last` | false | false | leave out a last batch that is not full | |
/// | `prefetch` | 2 | 2 | batches prepared ahead | 1 or more |
/// | `on_error` | fail | fail | what happens with an image that cannot be read | |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoaderConfig {
    /// Images in a batch.
    pub batch_size: usize,
    /// A new random order every epoch, counted in [`Batch::epoch`]; otherwise the set's order and epoch 0.
    pub training: bool,
    /// Seed of the random order and of the augmentation.
    pub seed: u64,
    /// Number of the first epoch, from 1.
    pub starting_epoch: usize,
    /// Random views instead of the central square; used only in training.
    pub augmentation: Option<Augmentation>,
    /// Leave out a last batch that is not full, unless it is the only one.
    pub drop_last: bool,
    /// Batches prepared ahead.
    pub prefetch: usize,
    /// What happens with an image that cannot be read.
    pub on_error: OnError,
}

impl LoaderConfig {
    /// Settings for training, without augmentation.
    pub fn training(batch_size: usize, seed: u64) -> Self {
        Self {
            batch_size,
            training: true,
            seed,
            starting_epoch: 1,
            augmentation: None,
            drop_last: false,
            prefetch: 2,
            on_error: OnError::Fail,
        }
    }

    /// Settings for validation: the set's order, no augmentation.
    pub fn validation(batch_size: usize) -> Self {
        Self { training: false, ..Self::training(batch_size, 0) }
    }

    fn validate(&self) -> Result<(), DataError> {
        let fields = [
            ("batch_size", self.batch_size),
            ("starting_epoch", self.starting_epoch),
            ("prefetch", self.prefetch),
        ];
        if let Some((parameter, found)) = fields.into_iter().find(|&(_, value)| value == 0) {
            return Err(DataError::Parameter { parameter, expected: "1 or more", found: found.to_string() });
        }
        self.augmentation.map_or(Ok(()), |augmentation| augmentation.validate())
    }
}

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
        }
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
        items(self.images.len(), &self.config)
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

/// Number of images that an epoch goes through.
fn items(len: usize, config: &LoaderConfig) -> usize {
    if config.drop_last && len >= config.batch_size { len - len % config.batch_size } else { len }
}

/// Positions of the images in the order of this epoch.
fn order(images: &Prepared, config: &LoaderConfig, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images.len()).collect();
    if config.training {
        order.shuffle(&mut generator(Purpose::Shuffle, config.seed, &[epoch as u64]));
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
}

impl Worker {
    fn items(&self) -> usize {
        items(self.order.len(), &self.config)
    }

    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let (items, size) = (self.items(), self.config.batch_size);
        (0..items.div_ceil(size)).map(move |batch| batch * size..((batch + 1) * size).min(items))
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
        let image = self.images.original(position)?;
        let index = self.images.images().samples()[position].index;
        let mut rng = generator(Purpose::Augmentation, self.config.seed, &[self.epoch as u64, index]);
        let view = augmentation.draw(image.width(), image.height(), &mut rng);
        view.write(&image, self.images.image_size() as u32, out);
        Ok(())
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
