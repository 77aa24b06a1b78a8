//! How a loader goes through its images.

use std::ops::Range;

use super::{Augmentation, DataError, OnError};
use crate::parameter::{self, Parameter};

/// How an [`ImageLoader`](super::ImageLoader) goes through its images.
///
/// | field | training | validation | purpose | range |
/// | --- | --- | --- | --- | --- |
/// | `batch_size` | given | given | images in a batch | at least 1 |
/// | `training` | true | false | a new random order every epoch, and epochs counted | |
/// | `seed` | given | 0 | random order and augmentation | |
/// | `starting_epoch` | 1 | 1 | first epoch, for going on after an interruption | at least 1 |
/// | `augmentation` | none | none | random views instead of the central square | see there |
/// | `drop_last` | false | false | leave out a last batch that is not full | |
/// | `prefetch` | 2 | 2 | batches prepared ahead | at least 1 |
/// | `on_error` | fail | fail | what happens with an image that cannot be read | |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoaderConfig {
    /// Images in a batch.
    pub batch_size: usize,
    /// A new random order every epoch, counted in [`Batch::epoch`](super::Batch::epoch); otherwise the set's order and epoch 0.
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

    pub(super) fn validate(&self) -> Result<(), DataError> {
        parameter::check([
            Parameter::at_least("batch_size", self.batch_size, 1),
            Parameter::at_least("starting_epoch", self.starting_epoch, 1),
            Parameter::at_least("prefetch", self.prefetch, 1),
        ])?;
        self.augmentation.map_or(Ok(()), |augmentation| augmentation.validate())
    }

    /// Number of images of `len` that an epoch goes through.
    fn items(&self, len: usize) -> usize {
        match self.drop_last && len >= self.batch_size {
            true => len - len % self.batch_size,
            false => len,
        }
    }

    /// The images of each batch, or of a part of it, by their places in an epoch's order of `len` images.
    pub(super) fn ranges(
        &self,
        len: usize,
        (part, parts): (usize, usize),
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let (items, size) = (self.items(len), self.batch_size);
        (0..items.div_ceil(size)).map(move |batch| {
            let (start, count) = (batch * size, size.min(items - batch * size));
            start + count * part / parts..start + count * (part + 1) / parts
        })
    }
}
