//! One epoch of a generative attack over the images that it is learned from.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::discriminator::Discriminator;
use super::fits::{mismatch, same_shape};
use super::generator::GeneratorConfig;
use super::losses::GanLosses;
use super::named_adam::NamedAdam;
use super::numbers::{Name, filled, numbers};
use super::schedule::GanSchedule;
use super::step::{Fake, Gan, StepLosses};
use super::target::Target;
use super::training::{About, GanTraining};
use crate::attack::lessons::{Lessons, same_lessons};
use crate::attack::prelude::*;
use crate::attack::stored::Numbers;
use crate::attack::{Goal, Origin};
use crate::classifier::Frozen;
use crate::parameter;
use crate::random::Purpose;

const ORDER: Purpose = Purpose::named("the order of images that a generator is learned from");

/// What the epochs of a method have in common.
pub(super) struct Method<'a> {
    pub(super) origin: Origin,
    pub(super) budget: Budget,
    pub(super) losses: &'a GanLosses,
    pub(super) schedule: &'a GanSchedule,
    pub(super) width: usize,
}

/// A generator whose weights are still to come, and what it makes of the images of a task.
pub(super) struct Making<G, M> {
    pub(super) generator: G,
    pub(super) name: Name,
    pub(super) make: M,
}

impl Method<'_> {
    /// What both networks ask of settings and images.
    pub(super) fn parameters(&self, shape: [usize; 3]) -> Vec<Parameter> {
        let mut parameters = vec![
            norm_among(self.budget.norm(), &[Norm::Linf]),
            Parameter::above_zero("budget", self.budget.size()),
            Parameter::at_least("channels", shape[0], 1),
            Parameter::at_least("width", self.width, 1),
            GeneratorConfig::fits(shape, Discriminator::LEAST_SIDE),
        ];
        parameters.extend(self.losses.parameters());
        parameters.extend(self.schedule.parameters());
        parameters
    }

    /// Nothing learned yet.
    pub(super) fn start(&self, shape: [usize; 3], generator: Numbers) -> GanTraining {
        let device = Device::default();
        let discriminator = Discriminator::init(shape[0], self.width, &device, self.schedule.seed);
        let discriminator = numbers(&discriminator, Discriminator::tensor_name);
        GanTraining::new(self.origin.clone(), shape, generator, discriminator)
    }

    /// One more epoch, or nothing if all are done; whether any is left then.
    pub(super) fn epoch<G, M, F, E>(
        &self,
        victim: &Frozen,
        training: &mut GanTraining,
        (count, images): (usize, F),
        making: Making<G, M>,
        target: &mut impl Target,
    ) -> Result<bool, E>
    where
        G: Module,
        M: Fn(&G, &Task<'_>, u64) -> Fake,
        F: FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
        E: From<AttackError>,
    {
        let learned = ("training", training.origin(), training.shape());
        same_lessons(victim, learned, &self.origin, count)?;
        let (epoch, batch_size) = (training.origin().passes, self.schedule.batch_size);
        if epoch == self.schedule.epochs {
            return Ok(false);
        }
        let mut gan = self.networks(training, making.generator, making.name, victim.device())?;
        let rate = self.schedule.learning_rate(epoch + 1);
        let mut lessons = Lessons { victim, count, images };
        let order = lessons.order(ORDER, self.schedule.seed, epoch);
        let (batches, mut means) = (count.div_ceil(batch_size), StepLosses::default());
        for (number, positions) in order.chunks(batch_size).enumerate() {
            lessons.step(&self.origin.method, epoch * batches + number, self.schedule.epochs * batches)?;
            let (images, goal) = lessons.at(positions)?;
            let goal = goal.with_indices(positions.iter().map(|&position| position as u64).collect());
            let profile = Profile::within(
                self.origin.method.clone(),
                self.budget,
                Access::Gradients,
                1,
                Queries::gradients(1),
            );
            let task = Task::new(victim, images, &goal, profile)?;
            parameter::check([same_shape(training.shape(), task.shape())]).map_err(AttackError::from)?;
            let make = |generator: &G| (making.make)(generator, &task, epoch as u64 + 1);
            let tracked = task.images().to_device(victim.device()).autodiff();
            let (next, found) = gan.step((self.losses, rate), tracked, &goal, make, target)?;
            if !found.is_finite() {
                let epoch = epoch + 1;
                let said = format!("losses: expected finite ones, found {found:?} in epoch {epoch}");
                return Err(AttackError::Other(said).into());
            }
            gan = next;
            means = means.plus(found, positions.len() as f64 / count as f64);
        }
        let finished = epoch + 1 == self.schedule.epochs;
        self.write_back(training, gan, making.name, (count, finished), means);
        Ok(!finished)
    }

    fn networks<G: Module>(
        &self,
        training: &GanTraining,
        generator: G,
        name: Name,
        device: &Device,
    ) -> Result<Gan<G>, AttackError> {
        let misfit = |misfit| AttackError::from(mismatch("training", misfit));
        let tracked = device.clone().autodiff();
        let discriminator = Discriminator::blank(training.shape()[0], self.width, &tracked);
        let anew = self.schedule.is_anew(training.origin().passes + 1);
        let adam = |moments| match anew {
            true => NamedAdam::new(),
            false => NamedAdam::after(training.about.steps, moments, device),
        };
        Ok(Gan {
            generator: filled(generator, &training.generator, name).map_err(misfit)?,
            discriminator: filled(discriminator, &training.discriminator, Discriminator::tensor_name)
                .map_err(misfit)?,
            generator_adam: adam(&training.generator_moments),
            discriminator_adam: adam(&training.discriminator_moments),
        })
    }

    fn write_back<G: Module>(
        &self,
        training: &mut GanTraining,
        gan: Gan<G>,
        name: Name,
        (images, finished): (usize, bool),
        means: StepLosses,
    ) {
        let (steps, generator_moments) = gan.generator_adam.moments();
        let (_, discriminator_moments) = gan.discriminator_adam.moments();
        let passes = training.origin().passes + 1;
        let origin = Origin { passes, images, finished, ..training.origin().clone() };
        let mut losses = training.about.losses.clone();
        losses.push(means.rounded());
        *training = GanTraining {
            about: About { origin, losses, steps, ..training.about.clone() },
            generator: numbers(&gan.generator, name),
            discriminator: numbers(&gan.discriminator, Discriminator::tensor_name),
            generator_moments,
            discriminator_moments,
            ..training.clone()
        };
    }
}
