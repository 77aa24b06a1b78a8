//! Learns a generator of images and its inverter.

use burn::tensor::{Device, Tensor, TensorData};

use super::super::fits::{mismatch, same_shape};
use super::super::named_adam::NamedAdam;
use super::super::numbers::{filled, numbers, path_name};
use super::super::schedule::GanSchedule;
use super::config::LatentConfig;
use super::critic::Critic;
use super::generator::LatentGenerator;
use super::inverter::Inverter;
use super::losses::{Means, WganLosses, of_critic, of_generator, of_inverter};
use super::training::{About, WganTraining};
use crate::attack::lessons::{Lessons, first_shape, same_lessons};
use crate::attack::prelude::*;
use crate::attack::{Goal, Origin};
use crate::classifier::Frozen;
use crate::parameter;
use crate::pixels::normal;
use crate::random::generator;

const ORDER: Purpose = Purpose::named("the order of images that a WGAN is learned from");
const CODES: Purpose = Purpose::named("codes that a WGAN is learned with");

/// Learns what [`Natural`](super::Natural) searches in: a generator of images from codes against a critic, as
/// a WGAN-GP, and an inverter that gives the code of an image.
///
/// Zhao, Dua & Singh, "Generating Natural Adversarial Examples", ICLR 2018, equations 1 and 2, in the order
/// of their code (`mnist_wgan_inv.py`): a step of the critic and one of the inverter for each batch, and after
/// every so many batches one of the generator. The [critic's penalty](Critic::gradient_penalty) is exact. The
/// networks are [`LatentConfig`]'s. No classifier takes part.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | latent | 64 numbers | at least 1 |
/// | width | 64, of all networks | at least 1 |
/// | critic steps | 5, for each of the generator | at least 1 |
/// | penalty | 10 | a finite number of at least 0 |
/// | lambda | 0.1 | a finite number of at least 0 |
/// | settling | 0 epochs, the last ones, in which the inverter alone learns | at most the epochs |
/// | schedule | [`GanSchedule`]'s: 1,000 epochs of batches of 80 at a rate of 0.0001 | as there |
/// | image shape | that of the first image | height and width divisible by 16 and at least 16 |
#[derive(Config, Debug, PartialEq)]
pub struct Wgan {
    /// Numbers of a code, each from N(0, 1).
    #[config(default = 64)]
    pub latent: usize,
    /// Channels at half the images' sides, of all networks.
    #[config(default = 64)]
    pub width: usize,
    /// Batches of the critic and the inverter for each of the generator.
    #[config(default = 5)]
    pub critic_steps: usize,
    /// The weight of the penalty on the critic's gradients.
    #[config(default = 10.0)]
    pub penalty: f64,
    /// The weight of the codes in the inverter's loss.
    #[config(default = 0.1)]
    pub lambda: f64,
    /// Epochs at the end in which the inverter alone learns, of a generator that no longer moves.
    #[config(default = 0)]
    pub settling: usize,
    /// How long and how fast all three learn.
    #[config(
        default = "GanSchedule::new().with_epochs(1000).with_batch_size(80).with_learning_rate(1e-4).with_milestones(vec![])"
    )]
    pub schedule: GanSchedule,
}

/// All three networks in training, with their optimizers.
struct Learning {
    generator: LatentGenerator,
    critic: Critic,
    inverter: Inverter,
    /// Of generator, critic and inverter.
    adams: [NamedAdam; 3],
}

impl Wgan {
    const NAME: &str = "WGAN-GP with an inverter";

    /// The form of its networks for images of these channels, height and width.
    pub fn networks(&self, shape: [usize; 3]) -> LatentConfig {
        LatentConfig { shape, latent: self.latent, width: self.width }
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::new(Self::NAME, self.settings())
    }

    fn parameters(&self, shape: [usize; 3]) -> Vec<Parameter> {
        let mut parameters = self.networks(shape).parameters();
        parameters.extend([
            Parameter::at_least("critic steps", self.critic_steps, 1),
            Parameter::from_zero("penalty", self.penalty),
            Parameter::from_zero("lambda", self.lambda),
            Parameter::new(
                "settling",
                "at most the epochs",
                self.settling <= self.schedule.epochs,
                self.settling,
            ),
        ]);
        parameters.extend(self.schedule.parameters());
        parameters
    }

    /// Nothing learned yet, for images of these channels, height and width.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on a setting or a shape out of its range.
    pub fn start(&self, shape: [usize; 3]) -> Result<WganTraining, AttackError> {
        parameter::check(self.parameters(shape))?;
        let (config, device, seed) = (self.networks(shape), Device::default(), self.schedule.seed);
        let weights = [
            numbers(&LatentGenerator::init(config, &device, seed)?, path_name),
            numbers(&Critic::init(config, &device, seed)?, path_name),
            numbers(&Inverter::init(config, &device, seed)?, path_name),
        ];
        Ok(WganTraining::new(self.origin(), shape, weights))
    }

    /// One more epoch over the images, or nothing if all are done; whether any is left then. What it leaves
    /// can be [saved](WganTraining::save), loaded and passed here again: the result is the same.
    ///
    /// `images` gives those at these positions, of `count` in all, `[batch, channels, height, width]` in
    /// \[0,1\], with a [`Goal`] as for [`AdvGan`](super::super::AdvGan); what it says is not looked at. The
    /// victim is asked nothing: its [watch](Frozen::watch) sees the steps and stops them, and its device does
    /// the work.
    ///
    /// # Errors
    ///
    /// What `images` fails with, and [`AttackError`]: a training of other settings or another number of
    /// images, an image that does not fit, losses that are not finite, or [`AttackError::Stopped`], at which
    /// the training stays as it was before the epoch.
    pub fn pass<E: From<AttackError>>(
        &self,
        victim: &Frozen,
        training: &mut WganTraining,
        count: usize,
        images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<bool, E> {
        let (origin, shape) = (self.origin(), training.shape());
        parameter::check(self.parameters(shape)).map_err(AttackError::from)?;
        same_lessons(victim, ("training", training.origin(), shape), &origin, count)?;
        let GanSchedule { epochs, batch_size, .. } = self.schedule;
        let epoch = training.origin().passes;
        if epoch == epochs {
            return Ok(false);
        }
        let mut learning = self.learning(training, victim.device())?;
        let mut lessons = Lessons { victim, count, images };
        let order = lessons.order(ORDER, self.schedule.seed, epoch);
        let (batches, mut means) = (count.div_ceil(batch_size), Means::default());
        for (number, positions) in order.chunks(batch_size).enumerate() {
            let step = epoch * batches + number;
            lessons.step(&origin.method, step, epochs * batches)?;
            let (images, goal) = lessons.at(positions)?;
            let profile = Profile::semantic(Self::NAME, Access::Nothing, 1, Queries::NONE);
            let task = Task::new(victim, images, &goal, profile)?;
            parameter::check([same_shape(shape, task.shape())]).map_err(AttackError::from)?;
            let images = task.images().to_device(victim.device());
            let found = self.step(&mut learning, (epoch, step), positions, images);
            if !found.is_finite() {
                let said = format!("losses: expected finite ones, found {found:?} in epoch {}", epoch + 1);
                return Err(AttackError::Other(said).into());
            }
            means.add(positions.len(), found);
        }
        let origin = Origin { passes: epoch + 1, images: count, finished: epoch + 1 == epochs, ..origin };
        write_back(training, learning, origin, means.losses());
        Ok(epoch + 1 < epochs)
    }

    /// One step of each network whose turn it is.
    fn step(
        &self,
        learning: &mut Learning,
        (epoch, step): (usize, usize),
        positions: &[usize],
        images: Tensor<4>,
    ) -> WganLosses {
        use burn::module::Module as _;
        let rate = self.schedule.learning_rate(epoch + 1);
        let (codes, shares) = self.drawn(epoch, positions, &images.device());
        let made = learning.generator.valid().forward(codes.clone());
        let [generator_adam, critic_adam, inverter_adam] = &mut learning.adams;
        let alone = epoch + self.settling >= self.schedule.epochs;
        let mut found = WganLosses::default();
        if !alone {
            let pair = [images.clone(), made.clone()];
            let (losses, gradients) = of_critic(&learning.critic, self.penalty, pair, &shares);
            learning.critic = critic_adam.step(rate, learning.critic.clone(), gradients);
            found = losses;
        }
        let given = (images, codes.clone(), made);
        let (losses, gradients) = of_inverter(&learning.inverter, &learning.generator, self.lambda, given);
        learning.inverter = inverter_adam.step(rate, learning.inverter.clone(), gradients);
        found = WganLosses { reconstruction: losses.reconstruction, latent: losses.latent, ..found };
        if !alone && (step + 1).is_multiple_of(self.critic_steps) {
            let (losses, gradients) = of_generator(&learning.generator, &learning.critic, codes);
            learning.generator = generator_adam.step(rate, learning.generator.clone(), gradients);
            found.generator = losses.generator;
        }
        found
    }

    /// A code and a share for each of the images at these positions.
    fn drawn(&self, epoch: usize, positions: &[usize], device: &Device) -> (Tensor<2>, Vec<f32>) {
        let mut codes = vec![0.0; positions.len() * self.latent];
        let shares = codes.chunks_mut(self.latent).zip(positions).map(|(code, &position)| {
            let mut rng = generator(CODES, self.schedule.seed, &[epoch as u64, position as u64]);
            normal(code, &mut rng);
            rng.random::<f32>()
        });
        let shares = shares.collect();
        (Tensor::from_data(TensorData::new(codes, [positions.len(), self.latent]), device), shares)
    }

    fn learning(&self, training: &WganTraining, device: &Device) -> Result<Learning, AttackError> {
        let misfit = |misfit| AttackError::from(mismatch("training", misfit));
        let (config, tracked) = (self.networks(training.shape()), device.clone().autodiff());
        let WganTraining { about, weights: [generator, critic, inverter], moments } = training;
        let anew = self.schedule.is_anew(training.origin().passes + 1);
        let adam = |network: usize| match anew {
            true => NamedAdam::new(),
            false => NamedAdam::after(about.steps[network], &moments[network], device),
        };
        Ok(Learning {
            generator: filled(LatentGenerator::blank(config, &tracked), generator, path_name)
                .map_err(misfit)?,
            critic: filled(Critic::blank(config, &tracked), critic, path_name).map_err(misfit)?,
            inverter: filled(Inverter::blank(config, &tracked), inverter, path_name).map_err(misfit)?,
            adams: std::array::from_fn(adam),
        })
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
    ) -> Result<WganTraining, E> {
        let shape = first_shape(count, &mut images)?;
        let mut training = self.start(shape)?;
        while self.pass(victim, &mut training, count, &mut images)? {}
        Ok(training)
    }
}

fn write_back(training: &mut WganTraining, learning: Learning, origin: Origin, means: WganLosses) {
    let Learning { generator, critic, inverter, adams } = learning;
    let [generator_adam, critic_adam, inverter_adam] = adams.map(|adam| adam.moments());
    let mut losses = training.about.losses.clone();
    losses.push(means);
    let steps = [generator_adam.0, critic_adam.0, inverter_adam.0];
    *training = WganTraining {
        about: About { origin, losses, steps, ..training.about.clone() },
        weights: [numbers(&generator, path_name), numbers(&critic, path_name), numbers(&inverter, path_name)],
        moments: [generator_adam.1, critic_adam.1, inverter_adam.1],
    };
}
