//! Loading a checkpoint into a network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::store::burn_pack::Tensor as StoredTensor;
use burn::store::{Applier, ApplyError, ApplyResult, PathFilter, PyTorchToBurnAdapter, bridge};
use burn::tensor::{DType, Tensor};

use super::error::{Tensors, WeightsError};
use super::{checkpoint, names};

/// The network with the weights and running statistics of a checkpoint.
///
/// Reads safetensors and PyTorch's zip and legacy formats, whichever the file holds; torchvision's present
/// names and the old ones of its published files (`norm.1`); names behind `module.`, `model.`, `net.` and
/// `network.`, and checkpoint dictionaries with a `state_dict`, `model_state_dict` or `model` entry. The
/// module may be wrapped in a [`Normalized`](crate::model::Normalized). Numbers of half and double precision
/// become single precision.
///
/// The result shares nothing with clones of `model`, which keep their weights and running statistics.
///
/// # Errors
///
/// [`WeightsError::Io`] and [`WeightsError::Format`] if the file cannot be read, and
/// [`WeightsError::Mismatch`] unless it has exactly the network's tensors in the network's shapes. For a
/// file with another classifier, see [`load_features`].
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
pub fn load<M: Module>(model: M, path: impl AsRef<Path>) -> Result<M, WeightsError> {
    load_where(model, path.as_ref(), false)
}

/// The network with the features of a checkpoint and its own classifier: for transfer to other classes.
///
/// As [`load`], but for the tensors below `classifier.`: the network keeps its own, and the file may have
/// any or none.
///
/// # Errors
///
/// As for [`load`].
pub fn load_features<M: Module>(model: M, path: impl AsRef<Path>) -> Result<M, WeightsError> {
    load_where(model, path.as_ref(), true)
}

fn load_where<M: Module>(model: M, path: &Path, keep_head: bool) -> Result<M, WeightsError> {
    let stored = checkpoint::read(path)?;
    let mut expected = Paths::default();
    model.visit(&mut expected);
    let wrapper = "network.".repeat(expected.wrappers());
    let (tensors, mut unexpected) = canonical(stored, &expected.torch_names());

    let is_head = |name: &str| keep_head && name.starts_with(HEAD);
    let tensors = tensors
        .into_iter()
        .filter(|(name, _)| !is_head(name))
        .map(|(name, tensor)| single_precision(tensor, format!("{wrapper}{}", names::burn_path(&name))))
        .collect();
    let filter = keep_head.then(|| PathFilter::new().with_predicate(|path, _| !is_head_path(path)));

    let mut applier = Applier::new(tensors, filter, Some(Box::new(PyTorchToBurnAdapter)), true);
    let loaded = unshare(model, keep_head).map(&mut applier);
    let result = applier.into_result();
    unexpected.extend(result.unused.iter().map(|path| names::torch_name(path)));
    mismatch(path, result, unexpected, is_head).map_or(Ok(loaded), Err)
}

const HEAD: &str = "classifier.";

fn is_head_path(path: &str) -> bool {
    names::torch_name(path).starts_with(HEAD)
}

/// The tensors by torchvision's present names, and the names that two tensors lay claim to.
fn canonical(
    mut stored: BTreeMap<String, StoredTensor>,
    expected: &BTreeSet<String>,
) -> (BTreeMap<String, StoredTensor>, Vec<String>) {
    stored.retain(|name, _| !name.ends_with(".num_batches_tracked") && !name.starts_with("optim"));
    while let Some(prefix) = names::PREFIXES.iter().find(|prefix| {
        let starts = |name: &String| name.starts_with(**prefix);
        stored.keys().any(starts) && !expected.iter().any(starts)
    }) {
        let strip = |name: String| name.strip_prefix(prefix).map(str::to_string).unwrap_or(name);
        stored = stored.into_iter().map(|(name, tensor)| (strip(name), tensor)).collect();
    }
    let mut tensors = BTreeMap::new();
    let mut twice = Vec::new();
    for (name, tensor) in stored {
        if tensors.insert(names::modern(&name), tensor).is_some() {
            twice.push(name);
        }
    }
    (tensors, twice)
}

fn single_precision(mut tensor: StoredTensor, name: String) -> StoredTensor {
    tensor.name = name.clone();
    match tensor.dtype.is_float() && tensor.dtype != DType::F32 {
        true => {
            let shape = tensor.shape.clone();
            bridge::map_data(tensor, name, DType::F32, shape, |data| data.convert::<f32>())
        }
        false => tensor,
    }
}

fn mismatch(
    path: &Path,
    result: ApplyResult,
    unexpected: Vec<String>,
    is_head: impl Fn(&str) -> bool,
) -> Option<WeightsError> {
    let missing = result.missing.iter().map(|(path, _)| names::torch_name(path));
    let missing: Vec<String> = missing.filter(|name| !is_head(name)).collect();
    let mut mismatched = Vec::new();
    for error in result.errors {
        mismatched.push(match error {
            ApplyError::ShapeMismatch { path, expected, found } => {
                let [expected, found] = [expected, found].map(|shape| torch_shape(&path, shape.to_vec()));
                format!("{}: expected {expected:?}, found {found:?}", names::torch_name(&path))
            }
            ApplyError::DTypeMismatch { path, expected, found } => {
                format!("{}: expected {expected:?}, found {found:?}", names::torch_name(&path))
            }
            ApplyError::AdapterError { path: tensor, message }
            | ApplyError::LoadError { path: tensor, message } => {
                return Some(WeightsError::Format {
                    path: path.into(),
                    expected: "the data of every tensor",
                    found: format!("{}: {message}", names::torch_name(&tensor)),
                });
            }
        });
    }
    if missing.is_empty() && unexpected.is_empty() && mismatched.is_empty() {
        return None;
    }
    Some(WeightsError::Mismatch {
        path: path.into(),
        missing: Tensors(missing),
        unexpected: Tensors(unexpected),
        mismatched: Tensors(mismatched),
    })
}

/// A shape as the file has it: burn keeps the weights of linear layers, the only matrices, transposed.
fn torch_shape(path: &str, mut shape: Vec<usize>) -> Vec<usize> {
    if shape.len() == 2 && path.ends_with(".weight") {
        shape.reverse();
    }
    shape
}

/// The module with running statistics of its own; burn shares them between clones.
fn unshare<M: Module>(model: M, keep_head: bool) -> M {
    let autodiff = model.devices().first().is_some_and(|device| device.is_autodiff());
    let own = model.map(&mut Blank { path: Vec::new(), keep_head }).valid();
    if autodiff { own.train() } else { own }
}

/// Zeros in place of initial weights that nobody has drawn yet and that the checkpoint replaces.
struct Blank {
    path: Vec<String>,
    keep_head: bool,
}

impl ModuleMapper for Blank {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if param.is_initialized() || self.keep_head && is_head_path(&self.path.join(".")) {
            return param;
        }
        let zeros = Tensor::zeros(param.lazy_shape(), &param.lazy_device());
        let id = param.id;
        param.transform_for_load(zeros, id)
    }
}

/// The paths of a module's floating-point parameters and running statistics.
#[derive(Default)]
struct Paths {
    stack: Vec<String>,
    found: Vec<String>,
}

impl Paths {
    fn torch_names(&self) -> BTreeSet<String> {
        self.found.iter().map(|path| names::torch_name(path)).collect()
    }

    /// How many [`Normalized`](crate::model::Normalized) stand around the network.
    fn wrappers(&self) -> usize {
        let mut path = self.found.first().map_or("", String::as_str);
        let mut wrappers = 0;
        while let Some(inner) = path.strip_prefix(names::WRAPPER) {
            (path, wrappers) = (inner, wrappers + 1);
        }
        wrappers
    }
}

impl ModuleVisitor for Paths {
    fn enter_module(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.stack.push(name.to_string());
        }
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.stack.pop();
        }
    }

    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
        self.found.push(self.stack.join("."));
    }
}
