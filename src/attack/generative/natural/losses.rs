//! The losses of a WGAN-GP with an inverter.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::critic::Critic;
use super::generator::LatentGenerator;
use super::inverter::Inverter;
use crate::pixels::round;
use crate::rows::factors;

/// The mean losses of an epoch of [`Wgan`](super::Wgan); `None` of what took no step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WganLosses {
    /// Mean score of generated images less that of images of the data: minus the estimate of their
    /// Wasserstein distance.
    pub critic: Option<f64>,
    /// The penalty on the critic's gradients, before its weight.
    pub penalty: Option<f64>,
    /// Minus the mean score of generated images.
    pub generator: Option<f64>,
    /// Mean squared difference of images from what the generator makes of their codes.
    pub reconstruction: Option<f64>,
    /// Mean squared difference of codes from those of what the generator makes of them.
    pub latent: Option<f64>,
}

/// Losses gathered over an epoch, one entry a field of [`WganLosses`].
#[derive(Default)]
pub(super) struct Means([(f64, f64); 5]);

impl Means {
    pub(super) fn add(&mut self, images: usize, losses: WganLosses) {
        let WganLosses { critic, penalty, generator, reconstruction, latent } = losses;
        for (mean, loss) in self.0.iter_mut().zip([critic, penalty, generator, reconstruction, latent]) {
            if let Some(loss) = loss {
                *mean = (mean.0 + loss * images as f64, mean.1 + images as f64);
            }
        }
    }

    /// As JSON gives them back exactly.
    pub(super) fn losses(&self) -> WganLosses {
        let [critic, penalty, generator, reconstruction, latent] =
            self.0.map(|(sum, images)| (images > 0.0).then(|| round(sum / images)));
        WganLosses { critic, penalty, generator, reconstruction, latent }
    }
}

impl WganLosses {
    pub(super) fn is_finite(&self) -> bool {
        let Self { critic, penalty, generator, reconstruction, latent } = self;
        [critic, penalty, generator, reconstruction, latent]
            .into_iter()
            .flatten()
            .all(|loss| loss.is_finite())
    }
}

/// The critic's losses and the gradients of `E D(G(z)) - E D(x) + weight E (||grad D|| - 1)^2`, the penalty
/// at a share of each way from an image to a generated one; images outside autodiff.
pub(super) fn of_critic(
    critic: &Critic,
    weight: f64,
    [images, made]: [Tensor<4>; 2],
    shares: &[f32],
) -> (WganLosses, GradientsParams) {
    let between = images.clone() + (made.clone() - images.clone()) * factors(shares, &images);
    let scores = |images: Tensor<4>| critic.forward(images.autodiff()).mean();
    let apart = scores(made) - scores(images);
    let penalty = critic.gradient_penalty(between);
    let found =
        WganLosses { critic: Some(number(&apart)), penalty: Some(number(&penalty)), ..WganLosses::default() };
    let total = apart + penalty * weight;
    (found, GradientsParams::from_grads(total.backward(), critic))
}

/// The inverter's losses and the gradients of `E (x - G(I(x)))^2 + lambda E (z - I(G(z)))^2`, both means over
/// all values as in the code of Zhao et al.; images and codes outside autodiff.
pub(super) fn of_inverter(
    inverter: &Inverter,
    generator: &LatentGenerator,
    lambda: f64,
    (images, codes, made): (Tensor<4>, Tensor<2>, Tensor<4>),
) -> (WganLosses, GradientsParams) {
    let again = generator.valid().forward(inverter.forward(images.clone().autodiff()));
    let reconstruction = (again - images.autodiff()).square().mean();
    let latent = (inverter.forward(made.autodiff()) - codes.autodiff()).square().mean();
    let found = WganLosses {
        reconstruction: Some(number(&reconstruction)),
        latent: Some(number(&latent)),
        ..WganLosses::default()
    };
    let total = reconstruction + latent * lambda;
    (found, GradientsParams::from_grads(total.backward(), inverter))
}

/// The generator's loss and the gradients of `-E D(G(z))`; codes outside autodiff.
pub(super) fn of_generator(
    generator: &LatentGenerator,
    critic: &Critic,
    codes: Tensor<2>,
) -> (WganLosses, GradientsParams) {
    let loss = critic.valid().forward(generator.forward(codes.autodiff())).mean().neg();
    let found = WganLosses { generator: Some(number(&loss)), ..WganLosses::default() };
    (found, GradientsParams::from_grads(loss.backward(), generator))
}

fn number(loss: &Tensor<1>) -> f64 {
    f64::from(loss.clone().inner().into_scalar::<f32>())
}
