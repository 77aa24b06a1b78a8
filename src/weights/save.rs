//! Writing a network's weights.

use std::collections::HashMap;
use std::path::Path;

use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot};
use burn::tensor::DType;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use sha2::{Digest, Sha256};

use super::checkpointed::Checkpointed;
use super::error::WeightsError;
use crate::file::{IoError, write_whole};

/// Writes weights and running statistics as safetensors under the names of [`Checkpointed`], for a DenseNet
/// torchvision's.
///
/// PyTorch loads the file with `strict=True`: linear weights are `[out, in]` there, batch norms have
/// `num_batches_tracked` (0, which PyTorch does not use with a fixed momentum). The file is complete or
/// absent at any moment: it is written under another name in the same folder and renamed.
///
/// # Errors
///
/// [`WeightsError::Io`] if the folder cannot be written to.
pub fn save_safetensors<M: Checkpointed>(model: &M, path: impl AsRef<Path>) -> Result<(), WeightsError> {
    let path = path.as_ref();
    let bytes = to_safetensors(model).map_err(|found| WeightsError::Format {
        path: path.into(),
        expected: "tensors to write",
        found,
    })?;
    Ok(write_whole(path, &bytes).map_err(IoError::at(path, "a folder to write to"))?)
}

/// The SHA-256 of what [`save_safetensors`] would write: the same for the same weights, whichever file they
/// came from and whichever device they are on. It tells a classifier from others in
/// [unfinished runs](crate::evaluate::Run::fingerprint).
///
/// ```
/// use histoguard::prelude::*;
///
/// let config = DenseNetConfig::densenet121(2).with_block_config(vec![1]).with_growth_rate(4);
/// let net = config.init(&Device::default());
/// let fingerprint = weights::fingerprint(&net)?;
/// assert_eq!(fingerprint.len(), 64);
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("net.safetensors");
/// # weights::save_safetensors(&net, &file)?;
/// let other = config.init_seeded(&Device::default(), 1);
/// assert_ne!(weights::fingerprint(&other)?, fingerprint);
/// assert_eq!(weights::fingerprint(&weights::load(other, &file)?)?, fingerprint);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`WeightsError::Format`] if a tensor has a type that safetensors does not know.
pub fn fingerprint<M: Checkpointed>(model: &M) -> Result<String, WeightsError> {
    let bytes = to_safetensors(model).map_err(|found| WeightsError::Format {
        path: "the network".into(),
        expected: "tensors that safetensors can hold",
        found,
    })?;
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn to_safetensors<M: Checkpointed>(model: &M) -> Result<Vec<u8>, String> {
    // Only `valid` applies the last update of the running statistics.
    let stored = model.valid().collect(None, Some(Box::new(BurnToPyTorchAdapter)), true);
    let mut tensors = Vec::with_capacity(stored.len());
    for tensor in stored {
        let name = M::tensor_name(&tensor.name);
        let bytes = tensor.to_bytes().map_err(|error| format!("{name}: {error}"))?;
        let dtype = dtype(tensor.dtype).ok_or_else(|| format!("{name} of type {:?}", tensor.dtype))?;
        if let Some(norm) = name.strip_suffix(".running_var") {
            tensors.push((
                format!("{norm}.num_batches_tracked"),
                Dtype::I64,
                vec![],
                0i64.to_le_bytes().to_vec(),
            ));
        }
        tensors.push((name, dtype, tensor.shape.to_vec(), bytes.to_vec()));
    }
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    // What `safetensors.torch.save_file` writes and other readers look for.
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    serialize(views, Some(metadata)).map_err(|error| error.to_string())
}

fn dtype(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 | DType::Flex32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        _ => return None,
    })
}
