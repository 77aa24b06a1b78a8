//! The attack that adds what a generator makes of each image.

use std::fmt::{Debug, Formatter};
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::bounding::Bounding;
use super::fits::{mismatch, same_shape};
use super::generator::{Generator, GeneratorConfig};
use super::numbers::{filled, numbers};
use super::stored_checks::{check_settings, check_sum};
use super::training::GanTraining;
use crate::attack::Origin;
use crate::attack::prelude::*;
use crate::attack::stored::{Numbers, Stored, StoredError, sha256};
use crate::parameter;

/// A perturbation of each image's own in one pass of a generator: an attack that needs no gradient and no
/// query once it is there.
///
/// It comes from [`AdvGan`](super::AdvGan), which learns it from training images, or from a
/// [file](Self::load). Learn it on
/// training images and report it on those of other slides, beside
/// [one that is random](crate::attack::UniversalPerturbation::random).
///
/// `x' = clip(x + budget G(x), 0, 1)`, or with the output of `G` cut off at the budget. With another budget
/// that is not the generator which would have been learned there.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | norm | Linf | Linf |
/// | image shape | that of the images it was learned from | the same |
#[derive(Clone)]
pub struct GeneratedPerturbation {
    about: About,
    /// The budget that it is used with.
    budget: Budget,
    weights: Arc<Numbers>,
    /// In evaluation mode.
    generator: Arc<Generator>,
}

/// What the file says beside the weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    budget: Budget,
    bounding: Bounding,
    generator: GeneratorConfig,
    /// Channels, height and width of the images that it is for.
    shape: [usize; 3],
    origin: Origin,
    sha256: String,
}

impl GeneratedPerturbation {
    pub(crate) const KIND: &str = "generated perturbation";

    /// A generator of one's own, in evaluation mode on this device.
    fn new(about: About, weights: Numbers, device: &Device) -> Result<Self, (String, String)> {
        let blank = about.generator.blank(&device.clone().inner());
        let generator = filled(blank, &weights, Generator::tensor_name)?;
        let (budget, generator) = (about.budget, Arc::new(generator));
        Ok(Self { about, budget, weights: Arc::new(weights), generator })
    }

    /// A generator made by this configuration, for images of this shape; see [`AdvGan`](super::AdvGan) for the
    /// rest.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on settings out of their range, or a generator of another configuration.
    pub fn from_generator(
        generator: &Generator,
        config: GeneratorConfig,
        (budget, bounding): (Budget, Bounding),
        shape: [usize; 3],
        origin: Origin,
    ) -> Result<Self, AttackError> {
        let weights = numbers(generator, Generator::tensor_name);
        let sha256 = sha256(&weights);
        let budget = budget.rounded();
        let about = About { budget, bounding, generator: config, shape, origin, sha256 };
        parameter::check(about.parameters())?;
        let device = generator.encoder[0].weight.val().device();
        Self::new(about, weights, &device).map_err(|misfit| mismatch("generator", misfit).into())
    }

    /// What a training has come to.
    pub(super) fn learned(
        training: &GanTraining,
        generator: GeneratorConfig,
        (budget, bounding): (Budget, Bounding),
        device: &Device,
    ) -> Result<Self, AttackError> {
        let (origin, shape, sha256) =
            (training.origin().clone(), training.shape(), sha256(&training.generator));
        let about = About { budget: budget.rounded(), bounding, generator, shape, origin, sha256 };
        Self::new(about, training.generator.clone(), device)
            .map_err(|misfit| mismatch("training", misfit).into())
    }

    /// How it came about.
    pub fn origin(&self) -> &Origin {
        &self.about.origin
    }

    /// The budget that it is used with.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Channels, height and width of the images that it is for.
    pub fn shape(&self) -> [usize; 3] {
        self.about.shape
    }

    /// What is added to these images, within the budget, before the cut to \[0,1\].
    ///
    /// # Shapes
    ///
    /// - `images`, output: `[batch, channels, height, width]`
    ///
    /// # Panics
    ///
    /// Panics on images of other channels, or whose height and width are not divisible by 4.
    pub fn change(&self, images: Tensor<4>) -> Tensor<4> {
        let generator = &self.generator;
        let (device, own) = (images.device(), generator.encoder[0].weight.val().device());
        let outputs = generator.forward(images.inner().to_device(&own)).to_device(&device.inner());
        self.about.bounding.apply(outputs, self.budget)
    }

    /// Writes it as safetensors, the weights under the names of mathcbc's `Generator`, which any other
    /// program can read; the file is complete or absent at any moment. Its budget is the one that it was
    /// learned with.
    ///
    /// # Errors
    ///
    /// [`StoredError`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), StoredError> {
        let mut stored = Stored::new(Self::KIND, &self.about);
        stored.add_all("", &self.weights);
        stored.write(path.as_ref())
    }

    /// Reads what [`save`](Self::save) wrote, finished or not.
    ///
    /// # Errors
    ///
    /// [`StoredError`] on a file that cannot be read, is of another kind, is damaged, or holds the weights of
    /// another network than it says.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, StoredError> {
        let path = path.as_ref();
        let stored = Stored::read(path, Self::KIND)?;
        let about: About = stored.about(path)?;
        let weights = stored.all("");
        let GeneratorConfig { channels, width, blocks, .. } = about.generator;
        let sizes = [channels, width, blocks];
        check_settings(path, &weights, (&sizes, about.shape), about.parameters())?;
        let read = Self::new(about, weights, device)
            .map_err(|(expected, found)| StoredError::format(path, &expected, found))?;
        check_sum(path, "weights", &read.about.sha256, &sha256(&read.weights))?;
        Ok(read)
    }
}

impl About {
    fn parameters(&self) -> Vec<Parameter> {
        let channels = format!("{} channels, as the generator's", self.generator.channels);
        let found = self.shape[0];
        let mut parameters = self.generator.parameters();
        parameters.extend([
            norm_among(self.budget.norm(), &[Norm::Linf]),
            Parameter::above_zero("budget", self.budget.size()),
            GeneratorConfig::fits(self.shape, Generator::LEAST_SIDE),
            Parameter::new("image shape", channels, found == self.generator.channels, found),
        ]);
        parameters
    }
}

/// Its budgets, its form, its origin and a digest of its weights.
impl Serialize for GeneratedPerturbation {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        serde_json::json!({ "budget": self.budget, "learned": self.about }).serialize(to)
    }
}

impl Debug for GeneratedPerturbation {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { about, budget, .. } = self;
        f.debug_struct("GeneratedPerturbation").field("budget", budget).field("learned", about).finish()
    }
}

impl Attack for GeneratedPerturbation {
    fn profile(&self) -> Profile {
        Profile::within(&self.about.origin.method, self.budget, Access::Learned, 1, Queries::NONE)
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        vec![norm_among(self.budget.norm(), &[Norm::Linf]), same_shape(self.about.shape, task.shape())]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..self.clone() })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        task.step()?;
        Ok(task.add(self.change(task.images()), self.budget))
    }
}
