//! The losses of generator and discriminator.

use burn::config::Config;
use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, sigmoid};
use serde::{Deserialize, Serialize};

use crate::attack::Goal;
use crate::parameter::Parameter;

/// What tells real images from generated ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GanLoss {
    /// The squared distance of the discriminator's probability from 1 and 0: Mao et al., "Least Squares
    /// Generative Adversarial Networks", ICCV 2017, as AdvGAN's paper and mathcbc's code train.
    LeastSquares,
    /// The cross-entropy of that probability, for the generator its `-log D(x')`: Goodfellow et al., NIPS
    /// 2014.
    CrossEntropy,
}

/// The losses of a generative attack, each a mean over the batch.
///
/// The generator lowers `gan_weight L_GAN + alpha L_adv + beta L_hinge`, the discriminator its own half of
/// the GAN loss. `L_adv = max(-margin, -kappa)` is that of Carlini & Wagner (S&P 2017) on the target's
/// logits, whose gradient does not vanish on a confident target; mathcbc's code has it on probabilities, and
/// summed over the batch. `L_hinge = max(0, ||change||_2 - c)`.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | GAN loss | least squares | |
/// | GAN weight | 1 | a finite number of at least 0 |
/// | alpha | 10 | a finite number of at least 0 |
/// | beta | 1 | a finite number of at least 0 |
/// | c | none: no hinge, as the budget bounds the change already | a finite number of at least 0 |
/// | kappa | 0 | a finite number of at least 0 |
#[derive(Config, Copy, Debug, PartialEq)]
pub struct GanLosses {
    /// What tells real images from generated ones.
    #[config(default = "GanLoss::LeastSquares")]
    pub gan_loss: GanLoss,
    /// The weight of that in the generator's loss.
    #[config(default = 1.0)]
    pub gan_weight: f64,
    /// The weight of the target's margin.
    #[config(default = 10.0)]
    pub alpha: f64,
    /// The weight of the hinge.
    #[config(default = 1.0)]
    pub beta: f64,
    /// The L2 norm on the \[0,1\] scale up to which a change costs nothing; without it no change costs
    /// anything.
    #[config(default = "None")]
    pub c: Option<f64>,
    /// How far past the boundary images are to go, in logits.
    #[config(default = 0.0)]
    pub kappa: f64,
}

/// The parts of the generator's loss, and their weighted sum; each `[1]`.
#[derive(Clone, Debug)]
pub struct GeneratorLoss {
    /// The discriminator's judgment.
    pub gan: Tensor<1>,
    /// The target's margin.
    pub adversarial: Tensor<1>,
    /// The hinge on the change.
    pub hinge: Tensor<1>,
    /// What the generator lowers.
    pub total: Tensor<1>,
}

impl GanLosses {
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::from_zero("GAN weight", self.gan_weight),
            Parameter::from_zero("alpha", self.alpha),
            Parameter::from_zero("beta", self.beta),
            Parameter::from_zero("c", self.c.unwrap_or(0.0)),
            Parameter::from_zero("kappa", self.kappa),
        ]
    }

    /// Of the discriminator, from its logits for images of the data and for generated ones.
    ///
    /// # Shapes
    ///
    /// - `real`, `fake`: `[batch, 1, rows, columns]`
    /// - output: `[1]`
    pub fn of_discriminator(&self, real: Tensor<4>, fake: Tensor<4>) -> Tensor<1> {
        self.judged(real, true) + self.judged(fake, false)
    }

    /// How far these logits of the discriminator are from calling all images real, or all generated.
    fn judged(&self, logits: Tensor<4>, real: bool) -> Tensor<1> {
        match self.gan_loss {
            GanLoss::LeastSquares => (sigmoid(logits) - if real { 1.0 } else { 0.0 }).square().mean(),
            GanLoss::CrossEntropy => log_sigmoid(if real { logits } else { logits.neg() }).mean().neg(),
        }
    }

    /// Of the generator, from the discriminator's logits for what it made, the target's logits for that, and
    /// how it differs from the images.
    ///
    /// # Shapes
    ///
    /// - `judged`: `[batch, 1, rows, columns]`
    /// - `logits`: `[batch, classes]`, at least two classes
    /// - `change`: `[batch, channels, height, width]`
    pub fn of_generator(
        &self,
        judged: Tensor<4>,
        logits: Tensor<2>,
        goal: &Goal,
        change: Tensor<4>,
    ) -> GeneratorLoss {
        let gan = self.judged(judged, true);
        let adversarial = goal.margin(logits).neg().clamp_min(-self.kappa).mean();
        let hinge = match self.c {
            Some(c) => {
                // Far below any change that counts, so that one of zero has a gradient of zero.
                let norms = (change.square().sum_dims(&[1, 2, 3]) + 1e-20).sqrt();
                (norms - c).clamp_min(0.0).mean()
            }
            None => Tensor::zeros([1], &gan.device()),
        };
        let total =
            gan.clone() * self.gan_weight + adversarial.clone() * self.alpha + hinge.clone() * self.beta;
        GeneratorLoss { gan, adversarial, hinge, total }
    }
}
