//! A tensor that still lies in its file.

use burn::tensor::{DType, TensorData};

/// Reads a tensor's elements: contiguous, little-endian.
type Reader = Box<dyn Fn() -> Result<Vec<u8>, String>>;

/// A tensor of a checkpoint; its data is read when it is asked for.
pub(super) struct Stored {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    read: Reader,
}

impl Stored {
    pub(super) fn new(
        dtype: DType,
        shape: Vec<usize>,
        read: impl Fn() -> Result<Vec<u8>, String> + 'static,
    ) -> Self {
        Self { dtype, shape, read: Box::new(read) }
    }

    pub(super) fn is_float(&self) -> bool {
        matches!(self.dtype, DType::F64 | DType::F32 | DType::Flex32 | DType::F16 | DType::BF16)
    }

    /// The elements in row-major order and single precision.
    ///
    /// # Panics
    ///
    /// Panics unless the tensor [is one of floating-point numbers](Self::is_float).
    pub(super) fn values(&self) -> Result<Vec<f32>, String> {
        assert!(self.is_float(), "a tensor of {:?} has no floating-point values", self.dtype);
        let (bytes, size) = ((self.read)()?, self.dtype.size());
        let expected = self.shape.iter().product::<usize>();
        if bytes.len() != expected * size {
            return Err(format!("{} bytes for {expected} elements of {:?}", bytes.len(), self.dtype));
        }
        if size == 4 {
            let chunks = bytes.as_chunks().0;
            return Ok(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect());
        }
        let data = TensorData::from_bytes_vec(bytes, [expected], self.dtype);
        data.convert::<f32>().try_into_vec().map_err(|error| format!("{error:?}"))
    }
}
