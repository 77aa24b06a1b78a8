//! A learned attack out of a file, whatever it is.

use std::path::Path;

use burn::tensor::Device;

use super::patch::Patch;
use super::perturbation::UniversalPerturbation;
use crate::attack::stored::{StoredError, kind_of};

/// A learned attack out of a file.
#[derive(Clone, Debug)]
pub enum Learned {
    /// A perturbation that is added to every image.
    Universal(Box<UniversalPerturbation>),
    /// A patch that is laid on every image.
    Patch(Box<Patch>),
}

impl Learned {
    /// Reads what [`UniversalPerturbation::save`] or [`Patch::save`] wrote.
    ///
    /// # Errors
    ///
    /// [`StoredError`] on a file that cannot be read, is of another kind, or is refused by the kind that it
    /// is of.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, StoredError> {
        match kind_of(path.as_ref())?.as_str() {
            Patch::KIND => Patch::load(path, device).map(|patch| Self::Patch(Box::new(patch))),
            _ => UniversalPerturbation::load(path, device).map(|found| Self::Universal(Box::new(found))),
        }
    }
}
