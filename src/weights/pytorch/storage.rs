//! Storages: the memory of tensors, as a pickle describes it and as it lies in the file.

use burn::tensor::DType;

/// The most storages and tensors of a file; a DenseNet-201 with its optimizer has under 5,000.
pub(super) const MAX_TENSORS: usize = 1 << 16;

/// What a pickle says of a tensor's memory; the bytes are elsewhere in the file.
#[derive(Clone)]
pub(super) struct Storage {
    pub(super) key: String,
    /// What burn makes of its elements, if anything.
    pub(super) dtype: Option<DType>,
    /// Bytes of an element.
    pub(super) size: u64,
    /// What PyTorch calls the type.
    pub(super) class: String,
    /// Number of elements.
    pub(super) length: u64,
    /// Elements of the storage in the file before the first of this one.
    pub(super) start: u64,
}

/// The bytes of a file's storages.
pub(super) trait Storages {
    /// `length` bytes of a storage, from byte `start` on.
    fn read(&self, key: &str, start: u64, length: u64) -> Result<Vec<u8>, String>;
}
