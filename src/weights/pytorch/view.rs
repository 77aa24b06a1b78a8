//! Tensors as views of storages.

use std::sync::Arc;

use super::super::stored::Stored;
use super::storage::{Storage, Storages};

/// The most bytes over which the elements of a tensor may be spread with gaps; a whole DenseNet-161 has
/// 0.12 GB.
const MAX_SPAN: u64 = 256 << 20;

/// A tensor: some elements of a storage, in the order of its strides.
#[derive(Clone)]
pub(super) struct View {
    storage: Storage,
    shape: Vec<usize>,
    /// Steps between neighbours along each dimension, in elements.
    strides: Vec<u64>,
    /// The first element and the one after the last, in the storage of the file.
    elements: std::ops::Range<u64>,
}

impl View {
    /// The elements of a storage from `offset` on; all of them lie within it.
    pub(super) fn new(
        storage: &Storage,
        offset: u64,
        shape: Vec<u64>,
        strides: Vec<u64>,
    ) -> Result<Self, String> {
        if shape.len() != strides.len() {
            return Err(format!("{} dimensions and {} strides", shape.len(), strides.len()));
        }
        let beyond = || format!("a tensor beyond its storage {} of {} elements", storage.key, storage.length);
        let total = shape.iter().try_fold(1u64, |total, side| total.checked_mul(*side)).ok_or_else(beyond)?;
        let span = match total {
            0 => Some(0),
            _ => shape
                .iter()
                .zip(&strides)
                .try_fold(1u64, |span, (side, stride)| span.checked_add((side - 1).checked_mul(*stride)?)),
        };
        let first = storage.start.checked_add(offset).ok_or_else(beyond)?;
        let last = span.and_then(|span| first.checked_add(span)).ok_or_else(beyond)?;
        if last > storage.start.saturating_add(storage.length) {
            return Err(beyond());
        }
        let sides = shape.into_iter().map(|side| usize::try_from(side).map_err(|error| error.to_string()));
        Ok(Self {
            storage: storage.clone(),
            shape: sides.collect::<Result<_, _>>()?,
            strides,
            elements: first..last,
        })
    }

    /// Where the elements lie; of two views with the same, all elements are the same.
    pub(super) fn place(&self) -> String {
        format!("{} {:?} {:?} {:?}", self.storage.key, self.elements, self.shape, self.strides)
    }

    pub(super) fn stored(self, storages: Arc<dyn Storages>) -> Stored {
        let shape = self.shape.clone();
        let Some(dtype) = self.storage.dtype else {
            return Stored::of_other_type(self.storage.class, shape);
        };
        Stored::new(dtype, shape, move || {
            let size = dtype.size() as u64;
            let [start, end] =
                [self.elements.start, self.elements.end].map(|element| element.checked_mul(size));
            let (Some(start), Some(end)) = (start, end) else {
                return Err(format!("a storage of {} elements", self.storage.length));
            };
            if !self.is_contiguous() && end - start > MAX_SPAN {
                return Err(format!(
                    "elements that are spread over {} bytes, more than {MAX_SPAN}",
                    end - start
                ));
            }
            let bytes = storages.read(&self.storage.key, start, end - start)?;
            Ok(if self.is_contiguous() { bytes } else { self.gather(&bytes, size as usize) })
        })
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&side, &stride)| {
            let fits = side == 1 || stride == expected;
            expected = u64::saturating_mul(expected, side as u64);
            fits
        })
    }

    /// The elements in row-major order.
    fn gather(&self, bytes: &[u8], size: usize) -> Vec<u8> {
        let total = self.shape.iter().product::<usize>();
        let mut gathered = Vec::with_capacity(total * size);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..total {
            let element: u64 = index.iter().zip(&self.strides).map(|(&i, stride)| i as u64 * stride).sum();
            gathered.extend_from_slice(&bytes[element as usize * size..][..size]);
            for (position, side) in index.iter_mut().zip(&self.shape).rev() {
                *position += 1;
                if *position < *side {
                    break;
                }
                *position = 0;
            }
        }
        gathered
    }
}
