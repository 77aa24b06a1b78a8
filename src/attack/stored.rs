//! Attacks that were learned, as files: safetensors whose metadata says what they are.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::{TensorView, serialize};
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::file::{IoError, write_whole};

/// Why the file of a learned attack cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoredError {
    /// The system's answer.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A file that is not what it should be.
    #[error("{path}: expected {expected}, found {found}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: String,
        /// What it holds.
        found: String,
    },
}

impl StoredError {
    pub(super) fn format(path: &Path, expected: &str, found: impl ToString) -> Self {
        Self::Format { path: path.into(), expected: expected.into(), found: found.to_string() }
    }
}

/// Tensors by name, each with its shape.
pub(super) type Numbers = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A digest of these tensors and their names.
pub(super) fn sha256(numbers: &Numbers) -> String {
    let mut digest = Sha256::new();
    for (name, (_, values)) in numbers {
        digest.update(name);
        for value in values {
            digest.update(value.to_le_bytes());
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same of several parts, each with what its names begin with.
pub(super) fn sha256_of_parts(parts: &[(&str, &Numbers)]) -> String {
    let named = |(prefix, numbers): &(&str, &Numbers)| -> Numbers {
        numbers.iter().map(|(name, value)| (format!("{prefix}{name}"), value.clone())).collect()
    };
    sha256(&parts.iter().flat_map(named).collect())
}

/// The only key of the metadata, so that equal attacks are equal files: entries have no order.
const KEY: &str = "histoguard";

/// What stands there.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Label {
    kind: String,
    about: Value,
}

/// The bytes of a file and its label.
fn labelled(path: &Path, expected: &str) -> Result<(Vec<u8>, Label), StoredError> {
    let wrong = |found: String| StoredError::format(path, expected, found);
    let bytes = std::fs::read(path).map_err(IoError::at(path, "a file of a learned attack"))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| wrong(error.to_string()))?;
    let text = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let text = text.ok_or_else(|| wrong("safetensors of something else".into()))?;
    let label = serde_json::from_str(text).map_err(|error| wrong(format!("a label with {error}")))?;
    Ok((bytes, label))
}

/// What kind of learned attack a file holds.
pub(super) fn kind_of(path: &Path) -> Result<String, StoredError> {
    Ok(labelled(path, "a learned attack that this crate wrote")?.1.kind)
}

/// A learned attack's tensors, and what it says of itself.
pub(super) struct Stored {
    label: Label,
    tensors: Vec<Named>,
}

struct Named {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Stored {
    /// No tensors yet.
    pub(super) fn new(kind: &str, about: &impl Serialize) -> Self {
        let about = serde_json::to_value(about).expect("settings are plain data");
        Self { label: Label { kind: kind.into(), about }, tensors: Vec::new() }
    }

    /// One tensor more.
    pub(super) fn add(&mut self, name: &str, shape: &[usize], values: Vec<f32>) {
        self.tensors.push(Named { name: name.into(), shape: shape.into(), values });
    }

    /// All these tensors more, with this before their names.
    pub(super) fn add_all(&mut self, prefix: &str, numbers: &Numbers) {
        for (name, (shape, values)) in numbers {
            self.add(&format!("{prefix}{name}"), shape, values.clone());
        }
    }

    /// All tensors with this before their names, without it.
    pub(super) fn all(&self, prefix: &str) -> Numbers {
        let named = self.tensors.iter().filter_map(|tensor| {
            let name = tensor.name.strip_prefix(prefix)?;
            Some((name.to_string(), (tensor.shape.clone(), tensor.values.clone())))
        });
        named.collect()
    }

    /// Writes the file, complete or not at all.
    pub(super) fn write(&self, path: &Path) -> Result<(), StoredError> {
        let bytes = |tensor: &Named| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let bytes: Vec<Vec<u8>> = self.tensors.iter().map(bytes).collect();
        let views: Result<Vec<_>, _> = self
            .tensors
            .iter()
            .zip(&bytes)
            .map(|(tensor, bytes)| {
                TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map(|view| (&tensor.name, view))
            })
            .collect();
        let label = serde_json::to_string(&self.label).expect("plain data");
        let metadata = HashMap::from([(KEY.to_string(), label)]);
        let file = serialize(views.expect("as many values as the shape says"), Some(metadata))
            .expect("plain tensors");
        Ok(write_whole(path, &file).map_err(IoError::at(path, "a folder to write to"))?)
    }

    /// Reads a file of this kind.
    pub(super) fn read(path: &Path, kind: &str) -> Result<Self, StoredError> {
        let expected = format!("a {kind} that this crate wrote");
        let wrong = |found: String| StoredError::format(path, &expected, found);
        let (bytes, label) = labelled(path, &expected)?;
        if label.kind != kind {
            return Err(wrong(format!("a {}", label.kind)));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let mut tensors = Vec::new();
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(wrong(format!("{name} of type {:?}", view.dtype())));
            }
            let values: Vec<f32> =
                view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(wrong(format!("{value} in {name}")));
            }
            tensors.push(Named { name: name.into(), shape: view.shape().into(), values });
        }
        Ok(Self { label, tensors })
    }

    /// What it says of itself.
    pub(super) fn about<T: DeserializeOwned>(&self, path: &Path) -> Result<T, StoredError> {
        serde_json::from_value(self.label.about.clone()).map_err(|error| {
            StoredError::format(path, "what the attack says of itself in the metadata", error)
        })
    }

    /// Shape and values of a tensor.
    pub(super) fn tensor(&self, path: &Path, name: &str) -> Result<(Vec<usize>, Vec<f32>), StoredError> {
        let found = self.tensors.iter().find(|tensor| tensor.name == name);
        let tensor = found.ok_or_else(|| {
            let names: Vec<&str> = self.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
            StoredError::format(path, &format!("a tensor {name}"), names.join(", "))
        })?;
        Ok((tensor.shape.clone(), tensor.values.clone()))
    }
}
