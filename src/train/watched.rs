//! A loader whose first error is kept, because burn-train's dashboard forgets it.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use super::TrainError;
use super::learnable::Shared;
use crate::data::Batch;

/// Hands batches on and stores the first error for [`Trainer::fit`](super::Trainer::fit) to return.
pub(super) struct Watched {
    pub(super) loader: Arc<dyn DataLoader<Batch>>,
    pub(super) shared: Arc<Shared>,
}

struct Batches<'a> {
    batches: Box<dyn DataLoaderIterator<Batch> + 'a>,
    shared: &'a Shared,
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.batches.next()?;
        if let Err(error) = &next {
            self.shared.fail(TrainError::Images(error.to_string()));
        }
        Some(next)
    }
}

impl DataLoaderIterator<Batch> for Batches<'_> {
    fn progress(&self) -> Progress {
        self.batches.progress()
    }
}

impl DataLoader<Batch> for Watched {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(Batches { batches: self.loader.iter(), shared: &self.shared })
    }

    fn num_items(&self) -> usize {
        self.loader.num_items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self { loader: self.loader.to_device(device), shared: self.shared.clone() })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self { loader: self.loader.slice(start, end), shared: self.shared.clone() })
    }
}
