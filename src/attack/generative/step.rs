//! One step of generator and discriminator.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::discriminator::Discriminator;
use super::losses::GanLosses;
use super::named_adam::NamedAdam;
use super::target::Target;
use crate::attack::{AttackError, Goal};
use crate::pixels::round;

/// Both networks in training, with their optimizers.
pub(super) struct Gan<G> {
    pub(super) generator: G,
    pub(super) discriminator: Discriminator,
    pub(super) generator_adam: NamedAdam,
    pub(super) discriminator_adam: NamedAdam,
}

/// What a generator makes of a batch, each `[batch, channels, height, width]` in its graph.
pub(super) struct Fake {
    /// What the discriminator judges.
    pub(super) judged: Tensor<4>,
    /// What the target sees: within the budget and \[0,1\].
    pub(super) adversarial: Tensor<4>,
    /// What the hinge measures.
    pub(super) change: Tensor<4>,
}

/// The losses of a batch or, as means, of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepLosses {
    /// Of the discriminator.
    pub discriminator: f64,
    /// The discriminator's judgment in the generator's loss.
    pub gan: f64,
    /// The target's margin in the generator's loss.
    pub adversarial: f64,
    /// The hinge on the change in the generator's loss.
    pub hinge: f64,
}

impl StepLosses {
    /// As JSON gives them back exactly.
    pub(super) fn rounded(self) -> Self {
        let Self { discriminator, gan, adversarial, hinge } = self;
        let [discriminator, gan, adversarial, hinge] = [discriminator, gan, adversarial, hinge].map(round);
        Self { discriminator, gan, adversarial, hinge }
    }

    pub(super) fn is_finite(&self) -> bool {
        [self.discriminator, self.gan, self.adversarial, self.hinge].iter().all(|loss| loss.is_finite())
    }

    /// The sum of these and `share` times the others.
    pub(super) fn plus(self, other: Self, share: f64) -> Self {
        Self {
            discriminator: self.discriminator + share * other.discriminator,
            gan: self.gan + share * other.gan,
            adversarial: self.adversarial + share * other.adversarial,
            hinge: self.hinge + share * other.hinge,
        }
    }
}

/// The discriminator's loss and its gradients, for these images and what the generator made of them.
pub(super) fn of_discriminator(
    losses: &GanLosses,
    discriminator: &Discriminator,
    images: Tensor<4>,
    fake: &Fake,
) -> (f64, GradientsParams) {
    let real = discriminator.forward(images);
    let judged = discriminator.forward(fake.judged.clone().detach());
    let loss = losses.of_discriminator(real, judged);
    (number(&loss), GradientsParams::from_grads(loss.backward(), discriminator))
}

/// The generator's losses and its gradients.
pub(super) fn of_generator<G: Module>(
    losses: &GanLosses,
    (generator, discriminator): (&G, &Discriminator),
    fake: Fake,
    goal: &Goal,
    target: &impl Target,
) -> (StepLosses, GradientsParams) {
    let judged = discriminator.forward(fake.judged);
    let loss = losses.of_generator(judged, target.logits(fake.adversarial), goal, fake.change);
    let found = StepLosses {
        discriminator: 0.0,
        gan: number(&loss.gan),
        adversarial: number(&loss.adversarial),
        hinge: number(&loss.hinge),
    };
    (found, GradientsParams::from_grads(loss.total.backward(), generator))
}

fn number(loss: &Tensor<1>) -> f64 {
    f64::from(loss.clone().inner().into_scalar::<f32>())
}

impl<G: Module> Gan<G> {
    /// One step of the target, of the discriminator and of the generator, in this order, for a batch on an
    /// autodiff device.
    pub(super) fn step(
        self,
        (losses, rate): (&GanLosses, f64),
        images: Tensor<4>,
        goal: &Goal,
        fake: impl FnOnce(&G) -> Fake,
        target: &mut impl Target,
    ) -> Result<(Self, StepLosses), AttackError> {
        let Self { generator, discriminator, mut generator_adam, mut discriminator_adam } = self;
        let fake = fake(&generator);
        target.learn(&images.clone().inner(), &fake.adversarial.clone().inner())?;
        let (loss, gradients) = of_discriminator(losses, &discriminator, images, &fake);
        let discriminator = discriminator_adam.step(rate, discriminator, gradients);
        let networks = (&generator, &discriminator);
        let (found, gradients) = of_generator(losses, networks, fake, goal, target);
        let generator = generator_adam.step(rate, generator, gradients);
        let found = StepLosses { discriminator: loss, ..found };
        Ok((Self { generator, discriminator, generator_adam, discriminator_adam }, found))
    }
}
