//! A tensor that still lies in its file.

use burn::tensor::{DType, TensorData};

/// Reads a tensor's elements: contiguous, little-endian.
type Reader = Box<dyn Fn() -> Result<Vec<u8>, String>>;

/// A tensor of a checkpoint; its data is read when it is asked for.
pub(super) struct Stored {
    /// What burn makes of its elements, if anything.
    dtype: Option<DType>,
    /// What the file calls their type.
    type_name: String,
    pub(super) shape: Vec<usize>,
    /// How many bytes of its name are those of the dictionary entry that it lies in.
    pub(super) entry: usize,
    /// Where in the file its elements lie, if others may lie there too.
    place: Option<String>,
    read: Reader,
}

impl Stored {
    pub(super) fn new(
        dtype: DType,
        shape: Vec<usize>,
        read: impl Fn() -> Result<Vec<u8>, String> + 'static,
    ) -> Self {
        let type_name = format!("{dtype:?}");
        Self { dtype: Some(dtype), type_name, shape, entry: 0, place: None, read: Box::new(read) }
    }

    /// A tensor of a type that no network here has.
    pub(super) fn of_other_type(type_name: String, shape: Vec<usize>) -> Self {
        let read = Box::new(|| Err("a type without a meaning here".into()));
        Self { dtype: None, type_name, shape, entry: 0, place: None, read }
    }

    /// The same tensor in a dictionary entry, with the place that its elements have in the file.
    pub(super) fn placed(self, entry: usize, place: String) -> Self {
        Self { entry, place: Some(place), ..self }
    }

    pub(super) fn is_float(&self) -> bool {
        use DType::{BF16, F16, F32, F64, Flex32};
        matches!(self.dtype, Some(F64 | F32 | Flex32 | F16 | BF16))
    }

    pub(super) fn type_name(&self) -> &str {
        &self.type_name
    }

    /// Whether both are one tensor under two names.
    pub(super) fn is_tied_to(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.place.is_some() && self.place == other.place)
    }

    /// The elements in row-major order and single precision.
    ///
    /// # Panics
    ///
    /// Panics unless the tensor [is one of floating-point numbers](Self::is_float).
    pub(super) fn values(&self) -> Result<Vec<f32>, String> {
        let dtype = self.dtype.filter(|_| self.is_float());
        let dtype = dtype.unwrap_or_else(|| panic!("a tensor of {} has no values", self.type_name));
        let (bytes, size) = ((self.read)()?, dtype.size());
        let expected = self.shape.iter().product::<usize>();
        if bytes.len() != expected * size {
            return Err(format!("{} bytes for {expected} elements of {dtype:?}", bytes.len()));
        }
        if size == 4 {
            let chunks = bytes.as_chunks().0;
            return Ok(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect());
        }
        let data = TensorData::from_bytes_vec(bytes, [expected], dtype);
        data.convert::<f32>().try_into_vec().map_err(|error| format!("{error:?}"))
    }
}
