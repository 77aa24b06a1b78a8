//! Every batch in equal parts, one a device.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator};
use burn::tensor::Device;

use crate::data::{Batch, ImageLoader};

/// A loader that burn-train may divide among devices: of its slices, each has a part of every batch. burn's own
/// slices would give each device images of its own for the whole training, and other batches than one device's.
pub(super) struct Spread {
    pub(super) loader: Arc<ImageLoader>,
    pub(super) devices: usize,
}

impl DataLoader<Batch> for Spread {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        self.loader.iter()
    }

    fn num_items(&self) -> usize {
        self.loader.num_items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        self.loader.to_device(device)
    }

    /// `split_dataloader` asks for `0..n`, `n..2n` and so on, the last to the end.
    fn slice(&self, start: usize, _end: usize) -> Arc<dyn DataLoader<Batch>> {
        let part = start / (self.num_items() / self.devices).max(1);
        Arc::new(self.loader.part(part.min(self.devices - 1), self.devices))
    }
}
