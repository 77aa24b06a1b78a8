//! A WGAN-GP with an inverter while it is learned.

use std::fmt::{Debug, Formatter};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::parts;
use super::losses::WganLosses;
use crate::attack::Origin;
use crate::attack::stored::{Numbers, StoredError, sha256_of_parts};

const KIND: &str = "training of a WGAN with an inverter";
const NETWORKS: [&str; 6] =
    ["generator.", "critic.", "inverter.", "generator_adam.", "critic_adam.", "inverter_adam."];

/// Generator, critic and inverter between two epochs, with what their optimizers remember: what is
/// [saved](Self::save), loaded and passed on goes on to the same weights.
#[derive(Clone)]
pub struct WganTraining {
    pub(super) about: About,
    /// Of generator, critic and inverter.
    pub(super) weights: [Numbers; 3],
    /// Of their optimizers.
    pub(super) moments: [Numbers; 3],
}

/// What the file says beside its tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) origin: Origin,
    /// Channels, height and width of the images.
    pub(super) shape: [usize; 3],
    /// Means of each epoch.
    pub(super) losses: Vec<WganLosses>,
    /// Steps of generator's, critic's and inverter's Adam since they last started anew.
    pub(super) steps: [usize; 3],
    pub(super) sha256: String,
}

impl WganTraining {
    /// Before the first epoch.
    pub(super) fn new(origin: Origin, shape: [usize; 3], weights: [Numbers; 3]) -> Self {
        let about = About { origin, shape, losses: Vec::new(), steps: [0; 3], sha256: String::new() };
        Self { about, weights, moments: std::array::from_fn(|_| Numbers::new()) }
    }

    /// How it came about, and how many epochs it has behind it.
    pub fn origin(&self) -> &Origin {
        &self.about.origin
    }

    /// Channels, height and width of the images that it is learned from.
    pub fn shape(&self) -> [usize; 3] {
        self.about.shape
    }

    /// The mean losses of each epoch.
    pub fn losses(&self) -> &[WganLosses] {
        &self.about.losses
    }

    fn parts(&self) -> [(&'static str, &Numbers); 6] {
        let numbers: Vec<&Numbers> = self.weights.iter().chain(&self.moments).collect();
        std::array::from_fn(|part| (NETWORKS[part], numbers[part]))
    }

    /// Writes it as safetensors; the file is complete or absent at any moment.
    ///
    /// # Errors
    ///
    /// [`StoredError`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), StoredError> {
        let parts = self.parts();
        let about = About { sha256: sha256_of_parts(&parts), ..self.about.clone() };
        parts::write(path.as_ref(), KIND, &about, &parts)
    }

    /// Reads what [`save`](Self::save) wrote. Whether its networks are those of the settings is seen when it
    /// goes on.
    ///
    /// # Errors
    ///
    /// [`StoredError`] on a file that cannot be read, is of another kind, or is damaged.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, StoredError> {
        let (about, parts) =
            parts::read(path.as_ref(), KIND, NETWORKS, |about: &About| about.sha256.as_str())?;
        let [generator, critic, inverter, generator_adam, critic_adam, inverter_adam] = parts;
        let (weights, moments) =
            ([generator, critic, inverter], [generator_adam, critic_adam, inverter_adam]);
        Ok(Self { about, weights, moments })
    }
}

impl Debug for WganTraining {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WganTraining").field("about", &self.about).finish_non_exhaustive()
    }
}
