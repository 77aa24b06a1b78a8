//! AdvGAN++: a generator of images from the target's features, learned beforehand.

use burn::tensor::{Device, Tensor};

use super::epoch::{Making, Method};
use super::feature_generator::{FeatureGenerator, FeatureGeneratorConfig};
use super::image::GeneratedImage;
use super::inputs::{noise, probe};
use super::losses::GanLosses;
use super::numbers::numbers;
use super::schedule::GanSchedule;
use super::step::Fake;
use super::target::WhiteBox;
use super::training::GanTraining;
use crate::attack::lessons::first_shape;
use crate::attack::prelude::*;
use crate::attack::{Goal, Origin};
use crate::classifier::{Frozen, FrozenFeatures};
use crate::parameter;

/// Learns a [`GeneratedImage`]: a generator that makes an image of the target's last features and noise,
/// against a discriminator that tells such images from others, and the target, which is to be fooled by them.
///
/// Jandial, Mangla, Varshney & Balasubramanian, "AdvGAN++: Harnessing latent layers for adversary
/// generation", ICCV workshops 2019: `L_GAN + alpha L_adv + beta ||x - x'||_2`, which here is the hinge with
/// `c` of 0. The paper bounds the image by that norm alone. Here the target sees the nearest image within an
/// L-infinity budget, and the gradient passes that projection as if it were not there, since it would vanish
/// wherever the image is cut off; the other two losses see the image itself. The paper's layers are not
/// given: see [`FeatureGeneratorConfig`].
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number above 0 |
/// | norm | the budget's | Linf |
/// | losses | [`GanLosses`]' with `c` of 0 and beta of 0.02, as a whole image's norm outweighs the margin | as there |
/// | schedule | [`GanSchedule`]'s | as there |
/// | noise | 100 numbers | any |
/// | width | 8, of both networks | at least 1 |
/// | blocks | 4, of the generator | at least 1 |
/// | image shape | that of the first image | height and width divisible by 4 and at least 24 |
#[derive(Config, Debug, PartialEq)]
pub struct AdvGanPlusPlus {
    /// How far each image may be changed.
    pub budget: Budget,
    /// What both networks lower.
    #[config(default = "GanLosses::new().with_c(Some(0.0)).with_beta(0.02)")]
    pub losses: GanLosses,
    /// How long and how fast they learn.
    #[config(default = "GanSchedule::new()")]
    pub schedule: GanSchedule,
    /// Random numbers beside the features; those of an image come from the seed and its index.
    #[config(default = 100)]
    pub noise: usize,
    /// Channels of the generator's last and of the discriminator's first convolution.
    #[config(default = 8)]
    pub width: usize,
    /// Residual blocks of the generator.
    #[config(default = 4)]
    pub blocks: usize,
}

impl AdvGanPlusPlus {
    const NAME: &str = "AdvGAN++";

    fn method(&self) -> Method<'_> {
        let origin = Origin::new(Self::NAME, self.settings());
        let Self { budget, losses, schedule, width, .. } = self;
        Method { origin, budget: *budget, losses, schedule, width: *width }
    }

    fn generator(&self, features: usize, shape: [usize; 3]) -> FeatureGeneratorConfig {
        let Self { noise, width, blocks, .. } = *self;
        FeatureGeneratorConfig { features, shape, noise, width, blocks }
    }

    /// Nothing learned yet, for images of these channels, height and width and the features of this network.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on a setting or a shape out of its range.
    pub fn start(&self, features: &FrozenFeatures, shape: [usize; 3]) -> Result<GanTraining, AttackError> {
        let method = self.method();
        parameter::check(method.parameters(shape))?;
        let config = self.generator(probe(features, shape)?.len(), shape);
        let generator = config.init(&Device::default(), self.schedule.seed)?;
        Ok(method.start(shape, numbers(&generator, FeatureGenerator::tensor_name)))
    }

    /// One more epoch over the images, or nothing if all are done; whether any is left then: as
    /// [`AdvGan::pass`](super::AdvGan::pass). `features` are those of the victim, which counts no queries for
    /// them.
    ///
    /// # Errors
    ///
    /// As [`AdvGan::pass`](super::AdvGan::pass), and a training with another number of features.
    pub fn pass<E: From<AttackError>>(
        &self,
        victim: &Frozen,
        features: &FrozenFeatures,
        training: &mut GanTraining,
        count: usize,
        images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<bool, E> {
        let (method, shape) = (self.method(), training.shape());
        parameter::check(method.parameters(shape)).map_err(AttackError::from)?;
        let seen = probe(features, shape).map_err(AttackError::from)?;
        let config = self.generator(seen.len(), shape);
        let make = |generator: &FeatureGenerator, task: &Task<'_>, epoch| {
            let images = task.images().to_device(victim.device());
            let seen = features.features(images.clone().to_device(features.device()));
            let noise = noise(task, self.schedule.seed, &[epoch], self.noise);
            let inputs = [seen, noise].map(|input| input.to_device(victim.device()).autodiff());
            fake(generator, images.autodiff(), inputs, self.budget)
        };
        let generator = config.blank(&victim.device().clone().autodiff());
        let making = Making { generator, name: FeatureGenerator::tensor_name, make };
        method.epoch(victim, training, (count, images), making, &mut WhiteBox(victim))
    }

    /// What has been learned so far, as an attack that looks at these features.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on a training of another method, of other settings, or with another number
    /// of features.
    pub fn attack(
        &self,
        training: &GanTraining,
        features: &FrozenFeatures,
    ) -> Result<GeneratedImage, AttackError> {
        let (own, made) = (self.method().origin.settings, &training.origin().settings);
        Parameter::new("training", format!("one of {own}"), own == *made, format!("one of {made}"))
            .check()?;
        let seen = probe(features, training.shape())?;
        let config = self.generator(seen.len(), training.shape());
        GeneratedImage::learned(training, (features, seen), config, (self.budget, self.schedule.seed))
    }

    /// All epochs over the images: see [`pass`](Self::pass).
    ///
    /// # Errors
    ///
    /// As [`pass`](Self::pass).
    pub fn learn<E: From<AttackError>>(
        &self,
        victim: &Frozen,
        features: &FrozenFeatures,
        count: usize,
        mut images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<GeneratedImage, E> {
        let shape = first_shape(count, &mut images)?;
        let mut training = self.start(features, shape)?;
        while self.pass(victim, features, &mut training, count, &mut images)? {}
        Ok(self.attack(&training, features)?)
    }
}

/// What the generator makes of features and noise, beside the images in its graph.
pub(super) fn fake(
    generator: &FeatureGenerator,
    images: Tensor<4>,
    [features, noise]: [Tensor<2>; 2],
    budget: Budget,
) -> Fake {
    let made = generator.forward(features, noise);
    let change = made.clone() - images.clone();
    let cut = change.clone().detach().clamp(-budget.size(), budget.size());
    // Forwards the projection, backwards as if there were none.
    let passed = change.clone() + (cut - change.clone().detach());
    Fake { judged: made, adversarial: images + passed, change }
}
