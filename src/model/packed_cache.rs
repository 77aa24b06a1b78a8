//! The kernels' form of a network's weights, kept while the weights stay as they are.

#[cfg(feature = "flex")]
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
/// trained, put into evaluation mode, moved) has its own, and so has the clone of a sealed one, whose
/// weights may change.
#[derive(Default)]
pub(super) struct PackedCache {
    #[cfg(feature = "flex")]
    kept: Arc<Mutex<[Option<Entry>; 2]>>,
    /// Whether the weights stay as they are.
    #[cfg(feature = "flex")]
    sealed: bool,
}

#[cfg(feature = "flex")]
#[derive(Clone)]
struct Entry {
    /// The very tensors that were packed. Holding them keeps burn from writing to them in place, so that a
    /// tensor in the same memory has the same values.
    key: Vec<FloatTensor<Flex>>,
    packed: Arc<Packed>,
}

impl Clone for PackedCache {
    fn clone(&self) -> Self {
        Self {
            #[cfg(feature = "flex")]
            kept: if self.sealed {
                Arc::new(Mutex::new(self.kept().clone()))
            } else {
                Arc::clone(&self.kept)
            },
            #[cfg(feature = "flex")]
            sealed: false,
        }
    }
}

impl PackedCache {
    /// One for weights that stay as they are.
    pub(super) fn sealed() -> Self {
        Self {
            #[cfg(feature = "flex")]
            sealed: true,
            ..Self::default()
        }
    }
}

#[cfg(feature = "flex")]
impl PackedCache {
    /// What is kept for a precision, of weights that stay as they are: to look whether they do takes a
    /// thirtieth of one image's pass.
    pub(super) fn of_sealed(&self, precision: Precision) -> Option<Arc<Packed>> {
        self.sealed.then(|| self.kept()[slot(precision)].as_ref().map(|entry| entry.packed.clone())).flatten()
    }

    fn kept(&self) -> MutexGuard<'_, [Option<Entry>; 2]> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
        let slot = slot(precision);
        if let Some(entry) = self.kept()[slot].as_ref().filter(|entry| same(entry)) {
            return Some(entry.packed.clone());
        }
        // Without the lock: while packing waits for other threads, this one may run another task that comes here.
        let packed = Arc::new(pack(&key)?);
        let mut slots = self.kept();
        if let Some(entry) = slots[slot].as_ref().filter(|entry| same(entry)) {
            return Some(entry.packed.clone());
        }
        slots[slot] = Some(Entry { key, packed: packed.clone() });
        Some(packed)
    }
}

#[cfg(feature = "flex")]
fn slot(precision: Precision) -> usize {
    match precision {
        Precision::Float32 => 0,
        Precision::Bfloat16 => 1,
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

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::super::kernels::{Arch, Level};
    use super::*;

    #[test]
    fn whoever_packs_may_be_asked_again_meanwhile() {
        let arch = Arch {
            growth_rate: 4,
            block_config: vec![1],
            num_init_features: 4,
            bn_size: 1,
            in_channels: 1,
            bn_eps: 1e-5,
        };
        let [params, stats] = [arch.parameters(), arch.statistics()]
            .map(|slots| vec![0.5; slots.iter().map(|slot| slot.len()).sum()]);
        let pack = || Some(Packed::new(&arch, &params, &stats, Level::Portable));
        let cache = PackedCache::default();
        let mut within = None;
        let packed = cache.get(Precision::Float32, Vec::new(), |_| {
            within = cache.get(Precision::Float32, Vec::new(), |_| pack());
            pack()
        });
        let [packed, within] = [packed, within].map(|packed| packed.expect("packed weights"));
        assert!(Arc::ptr_eq(&packed, &within), "the second form is not kept beside the first");
        assert!(cache.of_sealed(Precision::Float32).is_none(), "weights that may change were not looked at");
    }
}
