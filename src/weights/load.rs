//! Loading a checkpoint into a network.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;

use super::checkpoint::Checkpoint;
use super::checkpointed::Checkpointed;
use super::content::{self, Content};
use super::error::{Prefixes, Tensors, WeightsError};
use super::network::{self, Network, Unclear};
use super::note::Note;
use super::stored::Stored;
use super::target::{self, Slot};
use crate::model::FineTune;

/// The network with the weights and running statistics of a checkpoint.
///
/// Takes every file that [this table](super#files) lists, whichever format and names it has. The module may
/// be wrapped in a [`Normalized`](crate::model::Normalized), and [`Checkpointed`] says what its tensors are
/// called in files. Numbers of half and double precision become single precision.
///
/// The result shares nothing with clones of `model`, which keep their weights and running statistics.
///
/// # Errors
///
/// [`WeightsError::Io`] and [`WeightsError::Format`] if the file cannot be read,
/// [`WeightsError::Mismatch`] unless it has exactly the network's tensors in the network's shapes,
/// [`WeightsError::Ambiguous`] if it has several such networks (tensors that are tied, of one memory under
/// two names, are one), [`WeightsError::NoSuchPrefix`] if it has none where the [`Checkpoint`] says, and
/// [`WeightsError::Values`] if a weight is NaN or infinite or a running variance negative. For a file with
/// another classifier or with one input channel, see [`Load`].
///
/// What the file has beside the network is left out, and [`Checkpoint::on_note`] hears of it.
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
pub fn load<'a, M: Checkpointed>(model: M, from: impl Into<Checkpoint<'a>>) -> Result<M, WeightsError> {
    load_where(model, from.into(), Fit { own_head: false, grey_to_rgb: false })
}

/// The network with the features of a checkpoint and its own classifier: for transfer to other classes.
///
/// As [`load`], but the network keeps its own tensors below [`HEAD`](Checkpointed::HEAD), for a DenseNet
/// `classifier.`, and the file may have any or none, or a classifier of another name.
///
/// # Errors
///
/// As for [`load`].
pub fn load_features<'a, M: Checkpointed>(
    model: M,
    from: impl Into<Checkpoint<'a>>,
) -> Result<M, WeightsError> {
    load_where(model, from.into(), Fit { own_head: true, grey_to_rgb: false })
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
    /// Whether a first convolution for grey images may become one for RGB: its weights are repeated for the
    /// three channels and divided by three, so that it sees the mean of the channels. Files that have three
    /// channels already stay as they are.
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
    pub fn into_model<'a, M: FineTune + Checkpointed>(
        self,
        model: M,
        from: impl Into<Checkpoint<'a>>,
    ) -> Result<M, WeightsError> {
        let fit = Fit { own_head: self.head != Head::Keep, grey_to_rgb: self.grey_to_rgb };
        let model = match self.head {
            Head::Keep => model,
            Head::Fresh { classes } => model.with_fresh_classifier(classes, 0),
        };
        load_where(model, from.into(), fit)
    }
}

/// What a file's tensors may differ in.
#[derive(Clone, Copy)]
struct Fit {
    /// The network keeps its own classifier.
    own_head: bool,
    grey_to_rgb: bool,
}

fn load_where<M: Checkpointed>(model: M, mut from: Checkpoint<'_>, fit: Fit) -> Result<M, WeightsError> {
    let path = from.source.path().to_path_buf();
    let content = content::read(&from.source, M::tensor_name)?;
    let slots = target::slots(&model);
    let transposed_there = content.linear_transposed;
    let expected = |slot: &Slot| if transposed_there { slot.shape.clone() } else { slot.torch_shape() };
    let widens = |slot: &Slot, tensor: &Stored| fit.grey_to_rgb && is_grey(&tensor.shape, &expected(slot));
    let fits = |slot: &Slot, tensor: &Stored| {
        tensor.is_float() && (tensor.shape == expected(slot) || widens(slot, tensor))
    };
    let tensors = &content.tensors;
    let network = network::find::<M>(tensors, &slots, fit.own_head, from.prefix.as_deref(), fits)
        .map_err(|unclear| unclear_at(&path, unclear, from.prefix.as_deref()))?;
    let (mut missing, mut mismatched, mut matched) = (Vec::new(), Vec::new(), Vec::new());
    for slot in slots.iter().filter(|slot| !(fit.own_head && slot.is_head)) {
        let Some(tensor) = network.names.get(&slot.name).map(|name| &tensors[name]) else {
            missing.push(slot.name.clone());
            continue;
        };
        if !tensor.is_float() {
            mismatched.push(format!("{}: expected F32, found {}", slot.name, tensor.type_name()));
        } else if !fits(slot, tensor) {
            let (expected, found) = (expected(slot), &tensor.shape);
            mismatched.push(format!("{}: expected {expected:?}, found {found:?}", slot.name));
        } else {
            matched.push((slot, tensor, slot.is_linear && !transposed_there, widens(slot, tensor)));
        }
    }
    if !(missing.is_empty() && network.unexpected.is_empty() && mismatched.is_empty()) {
        let [missing, unexpected, mismatched] = [missing, network.unexpected, mismatched].map(Tensors);
        return Err(WeightsError::Mismatch { path, missing, unexpected, mismatched });
    }

    let (mut values, mut useless) = (BTreeMap::new(), Vec::new());
    for (slot, tensor, transpose, widen) in matched {
        let found = tensor.values().map_err(|found| WeightsError::Format {
            path: path.clone(),
            expected: "the data of every tensor",
            found: format!("{}: {found}", slot.name),
        })?;
        useless.extend(useless_values(&slot.name, &found));
        let found = match (transpose, widen) {
            (true, _) => transposed(&found, slot.shape[1]),
            (_, true) => widened(&found, slot.shape[2] * slot.shape[3]),
            _ => found,
        };
        values.insert(slot.path.clone(), TensorData::new(found, slot.shape.clone()));
    }
    if !useless.is_empty() {
        return Err(WeightsError::Values { path, tensors: Tensors(useless) });
    }
    let model = target::filled(model, values);
    if let Some(hear) = &mut from.on_note {
        notes(&content, network).into_iter().for_each(hear);
    }
    Ok(model)
}

fn unclear_at(path: &Path, unclear: Unclear, wanted: Option<&str>) -> WeightsError {
    let path = path.into();
    match unclear {
        Unclear::Several(prefixes) => WeightsError::Ambiguous { path, prefixes: Prefixes(prefixes) },
        Unclear::NoSuchPrefix(found) => {
            let expected = wanted.unwrap_or_default().to_string();
            WeightsError::NoSuchPrefix { path, expected, found: Prefixes(found) }
        }
    }
}

/// What the file has that the network does not.
fn notes(content: &Content, network: Network) -> Vec<Note> {
    let Network { prefix, tied, left_out, .. } = network;
    let mut notes = Vec::new();
    if !left_out.is_empty() {
        notes.push(Note::LeftOut { prefix: prefix.clone(), tensors: Tensors(left_out) });
    }
    if tied.len() > 1 {
        notes.push(Note::Tied { prefixes: tied });
    }
    let is_used =
        |entry: &&String| prefix.strip_prefix(entry.as_str()).is_some_and(|rest| rest.starts_with('.'));
    if content.entries.iter().any(|entry| is_used(&entry)) {
        let entries: Vec<String> = content.entries.iter().filter(|entry| !is_used(entry)).cloned().collect();
        if !entries.is_empty() {
            notes.push(Note::Entries { prefix, entries: Tensors(entries) });
        }
    }
    if !content.opaque.is_empty() {
        notes.push(Note::Opaque { callables: Tensors(content.opaque.clone()) });
    }
    notes
}

/// The tensor's name and how many of its values would make every answer NaN, if any.
fn useless_values(name: &str, values: &[f32]) -> Option<String> {
    let total = values.len();
    let infinite = values.iter().filter(|value| !value.is_finite()).count();
    // A variance goes under a root.
    let negative = match name.ends_with("running_var") {
        true => values.iter().filter(|value| value.is_finite() && **value < 0.0).count(),
        false => 0,
    };
    match (infinite, negative) {
        (0, 0) => None,
        (0, _) => Some(format!("{name}: {negative} of {total} variances are negative")),
        _ => Some(format!("{name}: {infinite} of {total} are NaN or infinite")),
    }
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
