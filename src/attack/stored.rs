//! Attacks that were learned, as files: safetensors whose metadata says what they are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{TensorView, serialize};
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use serde::de::DeserializeOwned;
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

/// The kind of attack stands under this key of the metadata, and what it says of itself under the other.
const KIND: &str = "histoguard.attack";
const ABOUT: &str = "histoguard.about";

/// A learned attack's tensors, and what it says of itself.
pub(super) struct Stored {
    metadata: HashMap<String, String>,
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
        let about = serde_json::to_string(about).expect("settings are plain data");
        let entries = [("format", "pt".to_string()), (KIND, kind.to_string()), (ABOUT, about)];
        Self { metadata: entries.map(|(key, value)| (key.to_string(), value)).into(), tensors: Vec::new() }
    }

    /// One tensor more.
    pub(super) fn add(&mut self, name: &str, shape: &[usize], values: Vec<f32>) {
        self.tensors.push(Named { name: name.into(), shape: shape.into(), values });
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
        let file = serialize(views.expect("as many values as the shape says"), Some(self.metadata.clone()))
            .expect("plain tensors");
        Ok(write_whole(path, &file).map_err(IoError::at(path, "a folder to write to"))?)
    }

    /// Reads a file of this kind.
    pub(super) fn read(path: &Path, kind: &str) -> Result<Self, StoredError> {
        let expected = format!("a {kind} that this crate wrote");
        let wrong = |found: String| StoredError::format(path, &expected, found);
        let bytes = std::fs::read(path).map_err(IoError::at(path, "a file of a learned attack"))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| wrong(error.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        match metadata.get(KIND) {
            Some(found) if found == kind => {}
            Some(found) => return Err(wrong(format!("a {found}"))),
            None => return Err(wrong("safetensors of something else".into())),
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
        Ok(Self { metadata, tensors })
    }

    /// What it says of itself.
    pub(super) fn about<T: DeserializeOwned>(&self, path: &Path) -> Result<T, StoredError> {
        let text = self.metadata.get(ABOUT).map_or("", String::as_str);
        serde_json::from_str(text).map_err(|error| {
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
