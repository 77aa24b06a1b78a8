//! The momentum iterative method: configuration.

use burn::tensor::Tensor;

use super::momentum::Momentum;
use crate::attack::ascent::Ascent;
use crate::attack::base::check_parameter;
use crate::attack::{Attack, AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

/// The momentum iterative method, with the options that make its examples transfer to other networks.
///
/// `g_{t+1} = mu * g_t + grad / mean|grad|`, `x_{t+1} = project(x_t + alpha * sign(g_{t+1}))` from `x_0 = x` and
/// `g_0 = 0`: Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018, algorithm 1. With [`Norm::L2`]
/// the gradient is divided by its L2 norm and the step is `alpha * g / |g|` (foolbox's
/// `L2MomentumIterativeFastGradientMethod`).
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | epsilon | required | finite, at least 0 |
/// | norm | L-infinity | L-infinity, L2 |
/// | steps | 10 | at least 1 |
/// | step size | epsilon / steps | finite, above 0 |
/// | decay (mu) | 1.0 | finite, at least 0 |
/// | seed | 0 | any |
///
/// The defaults are the paper's. The options change the gradient and combine freely:
///
/// | option | the gradient is | source |
/// | --- | --- | --- |
/// | [Nesterov](Self::with_nesterov) (NI) | taken where the momentum leads | Lin et al., ICLR 2020 |
/// | [scale invariance](Self::with_scale_invariance) (SI) | the mean over `x / 2^i` | Lin et al., ICLR 2020 |
/// | [input diversity](Self::with_input_diversity) (DI) | that of a randomly resized and padded copy | Xie et al., CVPR 2019 |
/// | [translation invariance](Self::with_translation_invariance) (TI) | convolved with a Gaussian | Dong et al., CVPR 2019 |
/// | [variance tuning](Self::with_variance_tuning) (VMI, VNI) | corrected by that of the last step's neighbours | Wang & He, CVPR 2021 |
///
/// A step costs one gradient; times the copies of SI; times one plus the neighbours of VMI, apart from the last
/// step. No image stops early: examples that barely fool this network seldom fool another.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let attack = MiFgsm::new(Epsilon::unit(0.2)).with_steps(4).with_nesterov().with_scale_invariance(5);
/// let darker = attack.perturb(&victim, Tensor::full([1, 1, 4, 4], 0.5, &device), &Goal::untargeted([1]))?;
/// assert!((darker.mean().into_scalar::<f32>() - 0.3).abs() < 1e-6);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MiFgsm {
    pub(super) epsilon: Epsilon,
    pub(super) norm: Norm,
    pub(super) steps: usize,
    step_size: Option<Epsilon>,
    pub(super) decay: f64,
    pub(super) seed: u64,
    pub(super) nesterov: bool,
    pub(super) copies: usize,
    pub(super) diversity: Option<Diversity>,
    pub(super) kernel: Option<usize>,
    pub(super) tuning: Option<Tuning>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Diversity {
    pub(super) probability: f64,
    pub(super) resize_rate: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tuning {
    pub(super) neighbours: usize,
    pub(super) beta: f64,
}

impl MiFgsm {
    /// MI-FGSM with an L-infinity budget.
    pub fn new(epsilon: Epsilon) -> Self {
        Self {
            epsilon,
            norm: Norm::Linf,
            steps: 10,
            step_size: None,
            decay: 1.0,
            seed: 0,
            nesterov: false,
            copies: 1,
            diversity: None,
            kernel: None,
            tuning: None,
        }
    }

    /// The same in another norm; epsilon and the step size are then that norm over the whole image.
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// So many steps.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Steps of this length at any epsilon and number of steps.
    pub fn with_step_size(mut self, step_size: Epsilon) -> Self {
        self.step_size = Some(step_size);
        self
    }

    /// The share of the momentum that stays from step to step; 0 for none.
    pub fn with_decay(mut self, decay: f64) -> Self {
        self.decay = decay;
        self
    }

    /// Random numbers of input diversity and variance tuning from another seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// NI: gradients at `x_t + alpha * mu * g_t`, Lin et al., "Nesterov Accelerated Gradient and Scale Invariance
    /// for Adversarial Attacks", ICLR 2020, equation 6.
    pub fn with_nesterov(mut self) -> Self {
        self.nesterov = true;
        self
    }

    /// SI: the mean gradient over `copies` of the image, each half as bright as the one before; 5 in Lin et al.,
    /// ICLR 2020, equation 7. Range: 1 (none) to 32.
    pub fn with_scale_invariance(mut self, copies: usize) -> Self {
        self.copies = copies;
        self
    }

    /// DI: with this probability each pass sees the image shrunk to a random size (from `resize_rate` of its
    /// own, bilinear) and padded with zeros at a random place; 0.5 and 0.9 in torchattacks. Xie et al.,
    /// "Improving Transferability of Adversarial Examples with Input Diversity", CVPR 2019. Each image draws its
    /// own. Ranges: probability 0 to 1, resize rate above 0 and below 1.
    pub fn with_input_diversity(mut self, probability: f64, resize_rate: f64) -> Self {
        self.diversity = Some(Diversity { probability, resize_rate });
        self
    }

    /// TI: gradients smoothed by a Gaussian of so many pixels a side that ends at three standard deviations;
    /// 15 in Dong et al., "Evading Defenses to Transferable Adversarial Examples by Translation-Invariant
    /// Attacks", CVPR 2019. Range: odd, below 256.
    pub fn with_translation_invariance(mut self, kernel: usize) -> Self {
        self.kernel = Some(kernel);
        self
    }

    /// VMI, with [`with_nesterov`](Self::with_nesterov) VNI: to each gradient is added by how much the mean over
    /// `neighbours` points around the last image, uniform in the ball of `beta * epsilon`, differed from that
    /// step's own gradient; 20 and 1.5 in Wang & He, "Enhancing the Transferability of Adversarial Attacks through
    /// Variance Tuning", CVPR 2021, algorithm 1 (torchattacks: 5 and 1.5). Ranges: at least 1; finite, above 0.
    pub fn with_variance_tuning(mut self, neighbours: usize, beta: f64) -> Self {
        self.tuning = Some(Tuning { neighbours, beta });
        self
    }

    fn check(&self) -> Result<(), AttackError> {
        check_parameter(matches!(self.norm, Norm::Linf | Norm::L2), "norm", "Linf or L2", self.norm)?;
        let ok = self.decay.is_finite() && self.decay >= 0.0;
        check_parameter(ok, "decay", "a finite number of at least 0", self.decay)?;
        let ok = (1..=32).contains(&self.copies);
        check_parameter(ok, "scale invariance", "1 to 32 copies", self.copies)?;
        if let Some(Diversity { probability, resize_rate }) = self.diversity {
            let ok = (0.0..=1.0).contains(&probability);
            check_parameter(ok, "input diversity", "a probability of 0 to 1", probability)?;
            let ok = resize_rate > 0.0 && resize_rate < 1.0;
            check_parameter(ok, "resize rate", "above 0 and below 1", resize_rate)?;
        }
        if let Some(kernel) = self.kernel {
            let ok = kernel % 2 == 1 && kernel < 256;
            check_parameter(ok, "translation invariance", "an odd number of pixels below 256", kernel)?;
        }
        if let Some(Tuning { neighbours, beta }) = self.tuning {
            check_parameter(neighbours >= 1, "variance tuning", "at least 1 neighbour", neighbours)?;
            let ok = beta.is_finite() && beta > 0.0;
            check_parameter(ok, "variance tuning", "a finite beta above 0", beta)?;
        }
        Ok(())
    }
}

impl Attack for MiFgsm {
    /// `MI-FGSM`, `NI-FGSM`, `VMI-FGSM` or `VNI-FGSM`; the other options do not show.
    fn name(&self) -> &'static str {
        match (self.tuning.is_some(), self.nesterov) {
            (false, false) => "MI-FGSM",
            (false, true) => "NI-FGSM",
            (true, false) => "VMI-FGSM",
            (true, true) => "VNI-FGSM",
        }
    }

    fn norm(&self) -> Norm {
        self.norm
    }

    fn epsilon(&self) -> Option<Epsilon> {
        Some(self.epsilon)
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(Self { epsilon, ..*self })
    }

    fn steps(&self) -> Option<usize> {
        Some(self.steps)
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        self.check()?;
        let ascent = Ascent {
            attack: self.name(),
            norm: self.norm,
            epsilon: self.epsilon,
            step_size: self.step_size.map_or(self.epsilon.value() / self.steps as f64, Epsilon::value),
            steps: self.steps,
        };
        ascent.check(victim, &images, goal)?;
        let images = images.inner();
        if self.epsilon == Epsilon::ZERO || images.dims()[0] == 0 {
            return Ok(images);
        }
        let mut rule = Momentum::new(self, ascent.step_size, &images);
        ascent.climb(victim, &images, images.clone(), goal, &mut rule, (0, self.steps))
    }
}
