//! Tensors of a safetensors file.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{BoolStore, DType};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::bytes::FileBytes;
use super::stored::Stored;

/// The longest header that is read; that of DenseNet-201 has 0.1 MB.
const MAX_HEADER: u64 = 16 << 20;

/// A safetensors file opens with the length of its header, a little-endian u64, and the header's `{`.
pub(super) fn is_safetensors(start: &[u8]) -> bool {
    start.get(8) == Some(&b'{') && start[5..8] == [0; 3]
}

pub(super) fn read(file: FileBytes) -> Result<BTreeMap<String, Stored>, String> {
    let length = file.read(0, 8)?.try_into().map(u64::from_le_bytes).expect("eight bytes");
    if length > MAX_HEADER {
        return Err(format!("a header of {length} bytes, more than {MAX_HEADER}"));
    }
    let header = file.read(8, length)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
    let start = 8 + length;
    if start.checked_add(metadata.data_len() as u64) != Some(file.length()) {
        let found = file.length() - start;
        return Err(format!("{found} bytes of data where the header says {}", metadata.data_len()));
    }
    let file = Arc::new(file);
    let stored = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let (first, last) = info.data_offsets;
        let file = file.clone();
        let read = move || file.read(start + first as u64, (last - first) as u64);
        let stored = match dtype(info.dtype) {
            Some(dtype) => Stored::new(dtype, info.shape.clone(), read),
            None => Stored::of_other_type(format!("{:?}", info.dtype), info.shape.clone()),
        };
        (name, stored)
    };
    Ok(metadata.tensors().into_iter().map(stored).collect())
}

fn dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U64 => DType::U64,
        Dtype::U32 => DType::U32,
        Dtype::U16 => DType::U16,
        Dtype::U8 => DType::U8,
        Dtype::BOOL => DType::Bool(BoolStore::Native),
        _ => return None,
    })
}
