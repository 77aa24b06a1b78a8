//! AdvGAN: a generator of perturbations, learned beforehand.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::bounding::Bounding;
use super::distilled::{CopyState, DistilledCopy};
use super::epoch::{Making, Method};
use super::generator::{Generator, GeneratorConfig, GeneratorNorm};
use super::losses::GanLosses;
use super::numbers::{numbers, path_name};
use super::perturbation::GeneratedPerturbation;
use super::schedule::GanSchedule;
use super::step::Fake;
use super::target::{Target, WhiteBox};
use super::training::GanTraining;
use crate::attack::lessons::first_shape;
use crate::attack::prelude::*;
use crate::attack::{Goal, Origin};
use crate::classifier::{Classifier, Frozen};
use crate::parameter;

/// Learns a [`GeneratedPerturbation`]: a generator whose outputs are added to images, against a discriminator
/// that tells such images from others, and a target that is to be fooled by them.
///
/// Xiao, Li, Zhu, He, Liu & Song, "Generating Adversarial Examples with Adversarial Networks", IJCAI 2018,
/// equations 1 to 4, with the networks and the order of steps of mathcbc's advGAN_pytorch. Unlike there, the
/// perturbation is bound to an L-infinity budget, and the losses are means over the batch. The target is used
/// while the generator learns and never again. Away from the labels, or towards a target, which is then what
/// the generator has learned.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number above 0 |
/// | norm | the budget's | Linf |
/// | bounding | scale | |
/// | losses | [`GanLosses`]' | as there |
/// | schedule | [`GanSchedule`]'s | as there |
/// | width | 8, of both networks | at least 1 |
/// | blocks | 4, of the generator | at least 1 |
/// | norm | instance, of the generator | |
/// | image shape | that of the first image | height and width divisible by 4 and at least 24 |
///
/// ```
/// use histoguard::attack::{AdvGan, GanSchedule};
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// // A ramp of this mean brightness: instance norm leaves nothing of an image without structure.
/// let ramp = |mean: f32| {
///     let ramp = Tensor::<1, Int>::arange(0..24, &Device::default()).float() * 0.004 - 0.046 + mean;
///     ramp.reshape([1, 1, 1, 24]).expand([1, 1, 24, 24])
/// };
/// // Four bright images, fetched by position as a data set would.
/// let images = |positions: &[usize]| {
///     let images = positions.iter().map(|&p| ramp(0.51 + 0.01 * p as f32)).collect();
///     Ok::<_, AttackError>((Tensor::cat(images, 0), Goal::untargeted(vec![1; positions.len()])))
/// };
/// let schedule = GanSchedule::new().with_epochs(30).with_batch_size(2).with_learning_rate(0.005);
/// let attack = AdvGan::new(Budget::linf(Epsilon::unit(0.1))).with_schedule(schedule);
/// let learned = attack.learn(&victim, 4, images)?;
/// let darker = learned.perturb(&victim, ramp(0.52), &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(darker), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct AdvGan {
    /// How far each image may be changed.
    pub budget: Budget,
    /// How the generator's outputs become perturbations.
    #[config(default = "Bounding::Scale")]
    pub bounding: Bounding,
    /// What both networks lower.
    #[config(default = "GanLosses::new()")]
    pub losses: GanLosses,
    /// How long and how fast they learn.
    #[config(default = "GanSchedule::new()")]
    pub schedule: GanSchedule,
    /// Channels of both networks' first convolution.
    #[config(default = 8)]
    pub width: usize,
    /// Residual blocks of the generator.
    #[config(default = 4)]
    pub blocks: usize,
    /// The generator's norm.
    #[config(default = "GeneratorNorm::Instance")]
    pub norm: GeneratorNorm,
}

impl AdvGan {
    const NAME: &str = "AdvGAN";
    const BLACK_BOX: &str = "AdvGAN by distillation";

    fn method(&self, origin: Origin) -> Method<'_> {
        let Self { budget, losses, schedule, width, .. } = self;
        Method { origin, budget: *budget, losses, schedule, width: *width }
    }

    fn generator(&self, channels: usize) -> GeneratorConfig {
        GeneratorConfig { channels, width: self.width, blocks: self.blocks, norm: self.norm }
    }

    /// Nothing learned yet, for images of these channels, height and width.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on a setting or a shape out of its range.
    pub fn start(&self, shape: [usize; 3]) -> Result<GanTraining, AttackError> {
        self.start_as(self.of_victim(), shape)
    }

    fn start_as(&self, origin: Origin, shape: [usize; 3]) -> Result<GanTraining, AttackError> {
        let (method, config) = (self.method(origin), self.generator(shape[0]));
        parameter::check(method.parameters(shape))?;
        let generator = config.init(&Device::default(), self.schedule.seed)?;
        Ok(method.start(shape, numbers(&generator, Generator::tensor_name)))
    }

    /// One more epoch over the images, or nothing if all are done; whether any is left then. What it leaves
    /// can be [saved](GanTraining::save), loaded and passed here again: the result is the same.
    ///
    /// `images` gives those at these positions, of `count` in all, `[batch, channels, height, width]` in
    /// \[0,1\], with labels or targets as a [`Goal`]. The [watch](Frozen::watch) of the victim counts its
    /// queries, sees the steps and stops them.
    ///
    /// # Errors
    ///
    /// What `images` fails with, and [`AttackError`]: a training of other settings or another number of
    /// images, an image or label that does not fit, losses that are not finite, or [`AttackError::Stopped`],
    /// at which the training stays as it was before the epoch.
    pub fn pass<E: From<AttackError>>(
        &self,
        victim: &Frozen,
        training: &mut GanTraining,
        count: usize,
        images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<bool, E> {
        self.pass_as(self.of_victim(), victim, training, (count, images), &mut WhiteBox(victim))
    }

    /// Nothing learned yet, against a copy of a black box that has learned before.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on a setting or a shape out of its range.
    pub fn start_black_box<N: Classifier + Module>(
        &self,
        copy: &DistilledCopy<N>,
        shape: [usize; 3],
    ) -> Result<GanTraining, AttackError> {
        let mut training = self.start_as(self.of_copy(copy), shape)?;
        let CopyState { weights, moments, steps, .. } = copy.state.clone();
        (training.copy, training.copy_moments, training.about.copy_steps) = (weights, moments, steps);
        Ok(training)
    }

    /// As [`pass`](Self::pass), against a copy of the victim, of which class probabilities alone are asked
    /// for. Before every step of the generator the copy learns from the batch and from what the generator
    /// makes of it: Xiao et al., section 3.4, dynamic distillation. The copy in the training is what counts,
    /// and is written back into `copy`.
    ///
    /// # Errors
    ///
    /// As [`pass`](Self::pass).
    pub fn pass_black_box<N: Classifier + Module, E: From<AttackError>>(
        &self,
        victim: &Frozen,
        copy: &mut DistilledCopy<N>,
        training: &mut GanTraining,
        count: usize,
        images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<bool, E> {
        let mut now = copy.clone();
        now.restore(&training.copy, &training.copy_moments, training.about.copy_steps)?;
        let mut learning = now.learning(victim)?;
        let epoch = training.origin().passes;
        let left = self.pass_as(self.of_copy(copy), victim, training, (count, images), &mut learning)?;
        if training.origin().passes > epoch {
            let (steps, moments) = learning.adam.moments();
            let weights = numbers(learning.network(), path_name);
            now.restore(&weights, &moments, steps)?;
            (training.copy, training.copy_moments, training.about.copy_steps) = (weights, moments, steps);
        }
        *copy = now;
        Ok(left)
    }

    fn of_copy<N: Classifier + Module>(&self, copy: &DistilledCopy<N>) -> Origin {
        let settings = serde_json::json!({ "advgan": self.settings(), "copy": copy.settings() });
        Origin::new(Self::BLACK_BOX, settings)
    }

    fn of_victim(&self) -> Origin {
        Origin::new(Self::NAME, self.settings())
    }

    fn pass_as<E: From<AttackError>>(
        &self,
        origin: Origin,
        victim: &Frozen,
        training: &mut GanTraining,
        images: (usize, impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>),
        target: &mut impl Target,
    ) -> Result<bool, E> {
        let method = self.method(origin);
        parameter::check(method.parameters(training.shape())).map_err(AttackError::from)?;
        let generator = self.generator(training.shape()[0]).blank(&victim.device().clone().autodiff());
        let make = |generator: &Generator, task: &Task<'_>, _| {
            fake(generator, task.images().to_device(victim.device()).autodiff(), self.bounding, self.budget)
        };
        let making = Making { generator, name: Generator::tensor_name, make };
        method.epoch(victim, training, images, making, target)
    }

    /// What has been learned so far, as an attack.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on a training of another method or of other settings.
    pub fn attack(
        &self,
        training: &GanTraining,
        device: &Device,
    ) -> Result<GeneratedPerturbation, AttackError> {
        let own = self.of_victim().settings;
        let made = &training.origin().settings;
        // A black box's says beside it what its copy learned with.
        let same = *made == own || made.get("advgan") == Some(&own);
        Parameter::new("training", format!("one of {own}"), same, format!("one of {made}")).check()?;
        let config = self.generator(training.shape()[0]);
        GeneratedPerturbation::learned(training, config, (self.budget, self.bounding), device)
    }

    /// All epochs over the images: see [`pass`](Self::pass).
    ///
    /// # Errors
    ///
    /// As [`pass`](Self::pass).
    pub fn learn<E: From<AttackError>>(
        &self,
        victim: &Frozen,
        count: usize,
        mut images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<GeneratedPerturbation, E> {
        let shape = first_shape(count, &mut images)?;
        let mut training = self.start(shape)?;
        while self.pass(victim, &mut training, count, &mut images)? {}
        Ok(self.attack(&training, victim.device())?)
    }
}

/// What the generator makes of images in its graph.
pub(super) fn fake(generator: &Generator, images: Tensor<4>, bounding: Bounding, budget: Budget) -> Fake {
    let change = bounding.apply(generator.forward(images.clone()), budget);
    let adversarial = (images + change.clone()).clamp(0.0, 1.0);
    Fake { judged: adversarial.clone(), adversarial, change }
}
