//! A generative attack while it is learned.

use std::fmt::{Debug, Formatter};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::parts;
use super::step::StepLosses;
use crate::attack::Origin;
use crate::attack::stored::{Numbers, StoredError, sha256_of_parts};

const KIND: &str = "training of a generative attack";
const GENERATOR: &str = "generator.";
const DISCRIMINATOR: &str = "discriminator.";
const GENERATOR_ADAM: &str = "generator_adam.";
const DISCRIMINATOR_ADAM: &str = "discriminator_adam.";
const COPY: &str = "copy.";
const COPY_ADAM: &str = "copy_adam.";
const PARTS: [&str; 6] = [GENERATOR, DISCRIMINATOR, GENERATOR_ADAM, DISCRIMINATOR_ADAM, COPY, COPY_ADAM];

/// Generator and discriminator between two epochs, with what their optimizers remember: what is
/// [saved](Self::save), loaded and passed on goes on to the same weights.
#[derive(Clone)]
pub struct GanTraining {
    pub(super) about: About,
    pub(super) generator: Numbers,
    pub(super) discriminator: Numbers,
    pub(super) generator_moments: Numbers,
    pub(super) discriminator_moments: Numbers,
    /// Of the black box's copy, if there is one.
    pub(super) copy: Numbers,
    pub(super) copy_moments: Numbers,
}

/// What the file says beside its tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) origin: Origin,
    /// Channels, height and width of the images.
    pub(super) shape: [usize; 3],
    /// Means of each epoch.
    pub(super) losses: Vec<StepLosses>,
    /// Steps of Adam since it last started anew.
    pub(super) steps: usize,
    /// Steps of the copy's Adam.
    pub(super) copy_steps: usize,
    pub(super) sha256: String,
}

impl GanTraining {
    /// Before the first epoch.
    pub(super) fn new(origin: Origin, shape: [usize; 3], generator: Numbers, discriminator: Numbers) -> Self {
        let about =
            About { origin, shape, losses: Vec::new(), steps: 0, copy_steps: 0, sha256: String::new() };
        Self {
            about,
            generator,
            discriminator,
            generator_moments: Numbers::new(),
            discriminator_moments: Numbers::new(),
            copy: Numbers::new(),
            copy_moments: Numbers::new(),
        }
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
    pub fn losses(&self) -> &[StepLosses] {
        &self.about.losses
    }

    fn parts(&self) -> [(&'static str, &Numbers); 6] {
        let Self { generator, discriminator, copy, .. } = self;
        let numbers = [
            generator,
            discriminator,
            &self.generator_moments,
            &self.discriminator_moments,
            copy,
            &self.copy_moments,
        ];
        std::array::from_fn(|part| (PARTS[part], numbers[part]))
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

    /// Reads what [`save`](Self::save) wrote. Whether its networks are those of the method is seen when it
    /// goes on.
    ///
    /// # Errors
    ///
    /// [`StoredError`] on a file that cannot be read, is of another kind, or is damaged.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, StoredError> {
        let (about, parts) = parts::read(path.as_ref(), KIND, PARTS, |about: &About| about.sha256.as_str())?;
        let [generator, discriminator, generator_moments, discriminator_moments, copy, copy_moments] = parts;
        Ok(Self {
            about,
            generator,
            discriminator,
            generator_moments,
            discriminator_moments,
            copy,
            copy_moments,
        })
    }
}

impl Debug for GanTraining {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GanTraining").field("about", &self.about).finish_non_exhaustive()
    }
}
