//! The attack that a generator makes of features.

use std::fmt::{Debug, Formatter};
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::feature_generator::{FeatureGenerator, FeatureGeneratorConfig};
use super::fits::{mismatch, same_shape};
use super::inputs::{noise, probe};
use super::numbers::{filled, numbers};
use super::stored_checks::{check_settings, check_sum};
use super::training::GanTraining;
use crate::attack::Origin;
use crate::attack::prelude::*;
use crate::attack::stored::{Numbers, Stored, StoredError, sha256};
use crate::classifier::FrozenFeatures;
use crate::parameter;

/// What the features' network sees in a gray image.
const PROBE: &str = "features_of_gray";
/// How far features may be from those of another device, as a share of the largest.
const TOLERANCE: f32 = 1e-2;

/// An image in one pass of a generator, from what a network sees in the one before it and noise, moved into
/// the budget: an attack that needs no gradient, and nothing of the victim but the network that it was
/// learned on, whose features it looks at and which it brings along.
///
/// It comes from [`AdvGanPlusPlus`](super::AdvGanPlusPlus), which learns it from training images, or from a
/// [file](Self::load).
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | norm | Linf | Linf |
/// | image shape | that of the images it was learned from | the same |
#[derive(Clone)]
pub struct GeneratedImage {
    about: About,
    /// The budget that it is used with.
    budget: Budget,
    weights: Arc<Numbers>,
    probe: Vec<f32>,
    features: FrozenFeatures,
    /// In evaluation mode.
    generator: Arc<FeatureGenerator>,
}

/// What the file says beside the weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    budget: Budget,
    generator: FeatureGeneratorConfig,
    /// Of the noise.
    seed: u64,
    origin: Origin,
    sha256: String,
}

impl GeneratedImage {
    pub(crate) const KIND: &str = "generated image";

    fn new(
        about: About,
        (weights, probe): (Numbers, Vec<f32>),
        features: &FrozenFeatures,
    ) -> Result<Self, (String, String)> {
        let blank = about.generator.blank(features.device());
        let generator = filled(blank, &weights, FeatureGenerator::tensor_name)?;
        let (budget, generator) = (about.budget, Arc::new(generator));
        Ok(Self { about, budget, weights: Arc::new(weights), probe, features: features.clone(), generator })
    }

    /// A generator made by this configuration, for the features of this network; the noise comes from the
    /// seed.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on settings out of their range, a generator of another configuration, or a
    /// network with another number of features.
    pub fn from_generator(
        generator: &FeatureGenerator,
        config: FeatureGeneratorConfig,
        features: &FrozenFeatures,
        budget: Budget,
        seed: u64,
        origin: Origin,
    ) -> Result<Self, AttackError> {
        let weights = numbers(generator, FeatureGenerator::tensor_name);
        let budget = budget.rounded();
        let about = About { budget, generator: config, seed, origin, sha256: sha256(&weights) };
        parameter::check(about.parameters())?;
        let probe = probe(features, config.shape)?;
        let range = format!("{}, as the generator's", config.features);
        Parameter::new("features", range, probe.len() == config.features, probe.len()).check()?;
        Self::new(about, (weights, probe), features).map_err(|misfit| mismatch("generator", misfit).into())
    }

    /// What a training has come to.
    pub(super) fn learned(
        training: &GanTraining,
        features: (&FrozenFeatures, Vec<f32>),
        generator: FeatureGeneratorConfig,
        (budget, seed): (Budget, u64),
    ) -> Result<Self, AttackError> {
        let (origin, sha256) = (training.origin().clone(), sha256(&training.generator));
        let about = About { budget: budget.rounded(), generator, seed, origin, sha256 };
        Self::new(about, (training.generator.clone(), features.1), features.0)
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
        self.about.generator.shape
    }

    /// What the generator makes of a task's images, before it is moved into the budget.
    ///
    /// # Shapes
    ///
    /// - output: `[batch, channels, height, width]`, values in \[0,1\]
    pub fn images(&self, task: &Task<'_>) -> Tensor<4> {
        let (images, own) = (task.images(), self.features.device());
        let seen = self.features.features(images.clone().to_device(own));
        let noise = noise(task, self.about.seed, &[], self.about.generator.noise).to_device(own);
        self.generator.forward(seen.inner(), noise).to_device(&images.device())
    }

    /// Writes it as safetensors, beside the weights what its network sees in a gray image; the file is
    /// complete or absent at any moment. Its budget is the one that it was learned with.
    ///
    /// # Errors
    ///
    /// [`StoredError`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), StoredError> {
        let mut stored = Stored::new(Self::KIND, &self.about);
        stored.add_all("", &self.weights);
        stored.add(PROBE, &[self.probe.len()], self.probe.clone());
        stored.write(path.as_ref())
    }

    /// Reads what [`save`](Self::save) wrote, finished or not, for the network whose features it was learned
    /// from.
    ///
    /// # Errors
    ///
    /// [`StoredError`] on a file that cannot be read, is of another kind, is damaged, holds the weights of
    /// another generator than it says, or was learned from the features of another network.
    pub fn load(path: impl AsRef<Path>, features: &FrozenFeatures) -> Result<Self, StoredError> {
        let path = path.as_ref();
        let stored = Stored::read(path, Self::KIND)?;
        let wrong = |expected: &str, found: &str| StoredError::format(path, expected, found);
        let about: About = stored.about(path)?;
        let (_, learned) = stored.tensor(path, PROBE)?;
        let mut weights = stored.all("");
        weights.remove(PROBE);
        let FeatureGeneratorConfig { features: seen, shape, noise, width, blocks } = about.generator;
        let sizes = [seen, shape[0], noise, width, blocks];
        check_settings(path, &weights, (&sizes, shape), about.parameters())?;
        let found = probe(features, about.generator.shape).map_err(|error| {
            wrong("a network that takes the images it was learned from", &error.to_string())
        })?;
        let most = learned.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
        let off: Vec<f32> = learned.iter().zip(&found).map(|(a, b)| (a - b).abs() / most).collect();
        if found.len() != learned.len() || !off.iter().all(|off| (0.0..=TOLERANCE).contains(off)) {
            let off = off.iter().copied().fold(0.0, f32::max);
            let found = format!("{} features that are up to {off} of the largest off", found.len());
            let expected = format!("the network whose {} features it was learned from", learned.len());
            return Err(wrong(&expected, &found));
        }
        let read = Self::new(about, (weights, learned), features)
            .map_err(|(expected, found)| wrong(&expected, &found))?;
        check_sum(path, "weights", &read.about.sha256, &sha256(&read.weights))?;
        Ok(read)
    }
}

impl About {
    fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = self.generator.parameters();
        parameters.extend([
            norm_among(self.budget.norm(), &[Norm::Linf]),
            Parameter::above_zero("budget", self.budget.size()),
        ]);
        parameters
    }
}

/// Its budgets, its form, its origin and a digest of its weights.
impl Serialize for GeneratedImage {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        serde_json::json!({ "budget": self.budget, "learned": self.about }).serialize(to)
    }
}

impl Debug for GeneratedImage {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { about, budget, .. } = self;
        f.debug_struct("GeneratedImage").field("budget", budget).field("learned", about).finish()
    }
}

impl Attack for GeneratedImage {
    fn profile(&self) -> Profile {
        Profile::within(&self.about.origin.method, self.budget, Access::Learned, 1, Queries::NONE)
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        vec![norm_among(self.budget.norm(), &[Norm::Linf]), same_shape(self.shape(), task.shape())]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..self.clone() })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        task.step()?;
        Ok(task.project(self.images(&task), self.budget))
    }
}
