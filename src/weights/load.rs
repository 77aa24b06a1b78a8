//! Loading a checkpoint into a network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::tensor::TensorData;

use super::checkpointed::Checkpointed;
use super::error::{Tensors, WeightsError};
use super::stored::Stored;
use super::target::{self, Slot};
use super::{checkpoint, names};
use crate::model::FineTune;

/// The network with the weights and running statistics of a checkpoint.
///
/// Takes every file that [this table](super#files) lists, whichever format and names it has. The module may be
/// wrapped in a [`Normalized`](crate::model::Normalized), and [`Checkpointed`] says what its tensors are called in
/// files. Numbers of half and double precision become single precision.
///
/// The result shares nothing with clones of `model`, which keep their weights and running statistics.
///
/// # Errors
///
/// [`WeightsError::Io`] and [`WeightsError::Format`] if the file cannot be read, and
/// [`WeightsError::Mismatch`] unless it has exactly the network's tensors in the network's shapes. For a
/// file with another classifier or with one input channel, see [`Load`].
///
/// ```
/// use burn::tensor::Device;
/// use histoguard::model::DenseNetConfig;
/// use histoguard::weights;
///
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("net.safetensors");
/// let config = DenseNetConfig::new(2).with_block_config(vec![1]).with_num_init_features(4);
/// weights::save_safetensors(&config.init_seeded(&Device::default(), 1), &file)?;
/// let net = weights::load(config.init(&Device::default()), &file)?;
///
/// let other = DenseNetConfig { num_classes: 3, ..config }.init(&Device::default());
/// let error = weights::load(other, &file).unwrap_err();
/// assert!(error.to_string().contains("classifier.weight: expected [3, 36], found [2, 36]"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn load<M: Checkpointed>(model: M, path: impl AsRef<Path>) -> Result<M, WeightsError> {
    load_where(model, path.as_ref(), Fit { own_head: false, grey_to_rgb: false })
}

/// The network with the features of a checkpoint and its own classifier: for transfer to other classes.
///
/// As [`load`], but the network keeps its own tensors below [`HEAD`](Checkpointed::HEAD), for a DenseNet
/// `classifier.`, and the file may have any or none, or a classifier of another name.
///
/// # Errors
///
/// As for [`load`].
pub fn load_features<M: Checkpointed>(model: M, path: impl AsRef<Path>) -> Result<M, WeightsError> {
    load_where(model, path.as_ref(), Fit { own_head: true, grey_to_rgb: false })
}

/// Which classifier a network has after loading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Head {
    /// The file's, which must have the network's number of classes.
    #[default]
    Keep,
    /// A new one, drawn from seed 0; the file may have any or none.
    Fresh {
        /// Number of classes, at least 1.
        classes: usize,
    },
}

/// How a checkpoint is fitted to a network.
///
/// ```
/// use burn::tensor::Device;
/// use histoguard::prelude::*;
/// use histoguard::weights::{Head, Load};
///
/// // A grey network with 18 classes, such as TorchXRayVision's, as the start of an RGB network with 2.
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("grey.safetensors");
/// let config = DenseNetConfig::new(18).with_block_config(vec![1]).with_num_init_features(4);
/// weights::save_safetensors(&config.clone().with_in_channels(1).init(&Device::default()), &file)?;
///
/// let load = Load { head: Head::Fresh { classes: 2 }, grey_to_rgb: true };
/// let net = load.into_model(config.init(&Device::default()), &file)?;
/// let model = Normalized::new(net, Normalization::TORCHXRAYVISION);
/// assert_eq!(model.num_classes(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Which classifier the network has afterwards.
    pub head: Head,
    /// Whether a first convolution for grey images may become one for RGB: its weights are repeated for the three
    /// channels and divided by three, so that it sees the mean of the channels. Files that have three channels
    /// already stay as they are.
    pub grey_to_rgb: bool,
}

impl Load {
    /// The network with the weights and running statistics of a checkpoint, fitted as these options say.
    ///
    /// # Errors
    ///
    /// As for [`load`].
    ///
    /// # Panics
    ///
    /// Panics if a fresh head is to have no classes.
    pub fn into_model<M: FineTune + Checkpointed>(
        self,
        model: M,
        path: impl AsRef<Path>,
    ) -> Result<M, WeightsError> {
        let fit = Fit { own_head: self.head != Head::Keep, grey_to_rgb: self.grey_to_rgb };
        let model = match self.head {
            Head::Keep => model,
            Head::Fresh { classes } => model.with_fresh_classifier(classes, 0),
        };
        load_where(model, path.as_ref(), fit)
    }
}

/// What a file's tensors may differ in.
#[derive(Clone, Copy)]
struct Fit {
    /// The network keeps its own classifier.
    own_head: bool,
    grey_to_rgb: bool,
}

fn load_where<M: Checkpointed>(model: M, path: &Path, fit: Fit) -> Result<M, WeightsError> {
    let checkpoint = checkpoint::read(path, M::tensor_name)?;
    let slots = target::slots(&model);
    let (mut tensors, mut unexpected) = canonical::<M>(checkpoint.tensors, &slots);
    let (mut missing, mut mismatched, mut matched) = (Vec::new(), Vec::new(), Vec::new());
    for slot in slots.iter().filter(|slot| !(fit.own_head && slot.is_head)) {
        let Some(tensor) = tensors.remove(&slot.name) else {
            missing.push(slot.name.clone());
            continue;
        };
        let (expected, transpose) = match checkpoint.linear_transposed {
            true => (slot.shape.clone(), false),
            false => (slot.torch_shape(), slot.is_linear),
        };
        let widen = fit.grey_to_rgb && is_grey(&tensor.shape, &expected);
        if !tensor.is_float() {
            mismatched.push(format!("{}: expected F32, found {:?}", slot.name, tensor.dtype));
        } else if tensor.shape != expected && !widen {
            mismatched.push(format!("{}: expected {expected:?}, found {:?}", slot.name, tensor.shape));
        } else {
            matched.push((slot, tensor, transpose, widen));
        }
    }
    let parts = target::parts(&slots);
    // Where the file's head does not matter, it may have any name that is not a part of the network's.
    let matters =
        |name: &String| !fit.own_head || name.split('.').next().is_some_and(|part| parts.contains(part));
    unexpected.extend(tensors.into_keys().filter(matters));
    if !(missing.is_empty() && unexpected.is_empty() && mismatched.is_empty()) {
        let [missing, unexpected, mismatched] = [missing, unexpected, mismatched].map(Tensors);
        return Err(WeightsError::Mismatch { path: path.into(), missing, unexpected, mismatched });
    }

    let mut values = BTreeMap::new();
    for (slot, tensor, transpose, widen) in matched {
        let found = tensor.values().map_err(|found| WeightsError::Format {
            path: path.into(),
            expected: "the data of every tensor",
            found: format!("{}: {found}", slot.name),
        })?;
        let found = match (transpose, widen) {
            (true, _) => transposed(&found, slot.shape[1]),
            (_, true) => widened(&found, slot.shape[2] * slot.shape[3]),
            _ => found,
        };
        values.insert(slot.path.clone(), TensorData::new(found, slot.shape.clone()));
    }
    Ok(target::filled(model, values))
}

/// The tensors by their present names, and the names that two tensors lay claim to.
fn canonical<M: Checkpointed>(
    mut stored: BTreeMap<String, Stored>,
    slots: &[Slot],
) -> (BTreeMap<String, Stored>, Vec<String>) {
    let expected: BTreeSet<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
    while let Some(prefix) = names::PREFIXES.iter().chain(M::PREFIXES).find(|prefix| {
        let starts = |name: &str| name.starts_with(**prefix);
        stored.keys().any(|name| starts(name)) && !expected.iter().any(|name| starts(name))
    }) {
        let strip = |name: String| name.strip_prefix(prefix).map(str::to_string).unwrap_or(name);
        stored = stored.into_iter().map(|(name, tensor)| (strip(name), tensor)).collect();
    }
    stored.retain(|name, _| !names::counts_batches(name) && !M::is_beside(name));
    let mut tensors = BTreeMap::new();
    let mut twice = Vec::new();
    for (name, tensor) in stored {
        let present = M::present_name(&name);
        let present = match names::without_sequential(&present) {
            Some(plain) if !expected.contains(present.as_str()) && expected.contains(plain.as_str()) => plain,
            _ => present,
        };
        if tensors.insert(present, tensor).is_some() {
            twice.push(name);
        }
    }
    (tensors, twice)
}

/// Whether a convolution takes one channel where three are expected.
fn is_grey(found: &[usize], expected: &[usize]) -> bool {
    matches!((found, expected), ([a, 1, h, w], [b, 3, y, x]) if (a, h, w) == (b, y, x))
}

/// Each output's kernel for one channel as the thirds of it for three channels.
fn widened(values: &[f32], kernel: usize) -> Vec<f32> {
    values.chunks_exact(kernel).flat_map(|kernel| [kernel; 3]).flatten().map(|value| value / 3.0).collect()
}

/// `[outputs, inputs]` as `[inputs, outputs]`.
fn transposed(values: &[f32], outputs: usize) -> Vec<f32> {
    let inputs = values.len() / outputs.max(1);
    (0..values.len()).map(|place| values[place % outputs * inputs + place / outputs]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_are_turned_and_kernels_shared_among_channels() {
        // [1 2 3; 4 5 6] -> [1 4; 2 5; 3 6]
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let wide = widened(&[3.0, 6.0, -9.0, 0.0], 2);
        assert_eq!(wide, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, -3.0, 0.0, -3.0, 0.0, -3.0, 0.0]);
        assert!(is_grey(&[64, 1, 7, 7], &[64, 3, 7, 7]));
        assert!(!is_grey(&[64, 1, 7, 7], &[32, 3, 7, 7]) && !is_grey(&[64, 3, 7, 7], &[64, 3, 7, 7]));
    }
}
