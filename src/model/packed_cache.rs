//! The kernels' form of a network's weights, kept while the weights stay as they are.

#[cfg(feature = "flex")]
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "flex")]
use burn::backend::{Flex, tensor::FloatTensor};
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::Device;

#[cfg(feature = "flex")]
use super::kernels::Packed;
#[cfg(feature = "flex")]
use super::precision::Precision;

/// A place for packed weights. Clones of a network share it; one that is derived from another (loaded,
/// trained, put into evaluation mode, moved) has its own.
#[derive(Clone, Default)]
pub(super) struct PackedCache(#[cfg(feature = "flex")] Arc<Mutex<[Option<Entry>; 2]>>);

#[cfg(feature = "flex")]
struct Entry {
    /// The very tensors that were packed. Holding them keeps burn from writing to them in place, so that a
    /// tensor in the same memory has the same values.
    key: Vec<FloatTensor<Flex>>,
    packed: Arc<Packed>,
}

#[cfg(feature = "flex")]
impl PackedCache {
    /// The packed form of these tensors for a precision: the one that is kept, or a new one in its place.
    pub(super) fn get(
        &self,
        precision: Precision,
        key: Vec<FloatTensor<Flex>>,
        pack: impl FnOnce(&[FloatTensor<Flex>]) -> Option<Packed>,
    ) -> Option<Arc<Packed>> {
        let same = |entry: &Entry| {
            entry.key.len() == key.len()
                && entry
                    .key
                    .iter()
                    .zip(&key)
                    .all(|(a, b)| a.bytes().as_ptr() == b.bytes().as_ptr() && a.layout() == b.layout())
        };
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match precision {
            Precision::Float32 => &mut slots[0],
            Precision::Bfloat16 => &mut slots[1],
        };
        if let Some(entry) = slot.as_ref().filter(|entry| same(entry)) {
            return Some(entry.packed.clone());
        }
        let packed = Arc::new(pack(&key)?);
        *slot = Some(Entry { key, packed: packed.clone() });
        Some(packed)
    }
}

impl std::fmt::Debug for PackedCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PackedCache")
    }
}

impl Module for PackedCache {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, _device: &Device) -> Self {
        Self::default()
    }

    fn to_device(self, _device: &Device) -> Self {
        Self::default()
    }

    fn train(self) -> Self {
        Self::default()
    }

    fn valid(&self) -> Self {
        Self::default()
    }

    fn materialize(self) -> Self {
        Self::default()
    }

    fn visit<V: ModuleVisitor>(&self, _visitor: &mut V) {}

    fn map<M: ModuleMapper>(self, _mapper: &mut M) -> Self {
        Self::default()
    }
}

impl ModuleDisplayDefault for PackedCache {
    fn content(&self, content: Content) -> Option<Content> {
        Some(content)
    }
}

impl ModuleDisplay for PackedCache {}
