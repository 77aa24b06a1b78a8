//! A universal perturbation by projected gradient steps over batches of images.

use burn::tensor::Device;

use super::perturbation::{ORDER, UniversalPerturbation};
use crate::attack::lessons::{Lessons, first_shape, same_lessons};
use crate::attack::prelude::*;
use crate::attack::{Goal, Origin};
use crate::classifier::Frozen;
use crate::parameter;

/// Learns a [`UniversalPerturbation`] by projected gradient steps, each along the mean gradient of a batch.
///
/// `v <- project(v + s * step(mean grad_v min(J(clip(x + v), y), beta)))`, Shafahi, Najibi, Xu, Dickerson,
/// Davis & Goldstein, "Universal Adversarial Training", AAAI 2020, algorithm 2 with the clipped loss of
/// equation 4, which keeps single images from ruling the mean; `step` is the sign in L-infinity and the
/// gradient over its norm in L2 and L1. The step is a share of the budget, as in the code that most people
/// use (sgd-uap-torch, there 0.8 throughout), and shrinks from pass to pass here. Away from the labels, or
/// towards targets.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number above 0 |
/// | norm | the budget's | Linf, L2 or L1 |
/// | passes | 10 | at least 1 |
/// | batch size | 32 | at least 1 |
/// | step | 0.8 of the budget | a finite number above 0 |
/// | decay | 0.8 a pass | a finite number above 0 |
/// | beta | 12 | a finite number above 0 |
/// | seed | 0 | any |
///
/// ```
/// use histoguard::attack::SgdUap;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// // Four bright images, fetched by position as a data set would.
/// let images = |positions: &[usize]| {
///     let images = positions.iter().map(|&p| Tensor::full([1, 1, 4, 4], 0.51 + 0.01 * p as f32, &device));
///     Ok::<_, AttackError>((Tensor::cat(images.collect(), 0), Goal::untargeted(vec![1; positions.len()])))
/// };
/// let learned = SgdUap::new(Budget::linf(Epsilon::unit(0.1))).learn(&victim, 4, images)?;
/// let darker = learned.perturb(&victim, Tensor::full([1, 1, 4, 4], 0.58, &device), &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(darker), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct SgdUap {
    /// How far each image may be changed.
    pub budget: Budget,
    /// Passes over the images.
    #[config(default = 10)]
    pub passes: usize,
    /// Images of a step.
    #[config(default = 32)]
    pub batch_size: usize,
    /// Length of the first pass's steps, as a share of the budget.
    #[config(default = 0.8)]
    pub step: f64,
    /// What the length is multiplied by after each pass.
    #[config(default = 0.8)]
    pub decay: f64,
    /// The cross-entropy of an image counts up to here.
    #[config(default = 12.0)]
    pub beta: f64,
    /// The order of the images comes from it.
    #[config(default = 0)]
    pub seed: u64,
}

impl SgdUap {
    const NAME: &str = "SGD-UAP";

    fn origin(&self) -> Origin {
        Origin::new(Self::NAME, self.settings())
    }

    /// Nothing learned yet, for images of these channels, height and width.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] on a setting out of its range.
    pub fn start(&self, shape: [usize; 3], device: &Device) -> Result<UniversalPerturbation, AttackError> {
        parameter::check([
            norm_among(self.budget.norm(), &[Norm::Linf, Norm::L2, Norm::L1]),
            Parameter::at_least("passes", self.passes, 1),
            Parameter::at_least("batch size", self.batch_size, 1),
            Parameter::above_zero("step", self.step),
            Parameter::above_zero("decay", self.decay),
            Parameter::above_zero("beta", self.beta),
        ])?;
        UniversalPerturbation::new(Tensor::zeros(shape, device), self.budget, self.origin())
    }

    /// One more pass over the images, or nothing if all are done; whether any is left then. What it leaves
    /// can be [saved](UniversalPerturbation::save), loaded and passed here again: the result is the same.
    ///
    /// `images` gives those at these positions, of `count` in all, `[batch, channels, height, width]` in
    /// \[0,1\], with labels or targets as a [`Goal`].
    ///
    /// # Errors
    ///
    /// What `images` fails with, and [`AttackError`]: a perturbation of other settings or another number of
    /// images, an image or label that does not fit, or [`AttackError::Stopped`] if a stop was asked for
    /// through [`Frozen::watch`], at which the perturbation stays as it was before the pass.
    pub fn pass<E: From<AttackError>>(
        &self,
        victim: &Frozen,
        perturbation: &mut UniversalPerturbation,
        count: usize,
        images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<bool, E> {
        same_lessons(victim, perturbation.learned(), &self.origin(), count)?;
        let (pass, batches) = (perturbation.origin().passes, count.div_ceil(self.batch_size));
        if pass == self.passes {
            return Ok(false);
        }
        let mut lessons = Lessons { victim, count, images };
        let (order, mut v) = (lessons.order(ORDER, self.seed, pass), perturbation.learned_values());
        for (number, positions) in order.chunks(self.batch_size).enumerate() {
            lessons.step(Self::NAME, pass * batches + number, self.passes * batches)?;
            let (images, goal) = lessons.at(positions)?;
            let queries = Queries::gradients(1);
            let profile = Profile::within(Self::NAME, self.budget, Access::Gradients, 1, queries);
            let task = Task::new(victim, images, &goal, profile)?;
            parameter::check([perturbation.fits(task.shape())]).map_err(AttackError::from)?;
            v = self.step(&task, v, pass);
        }
        let finished = pass + 1 == self.passes;
        *perturbation = perturbation.after(v, count, finished);
        Ok(!finished)
    }

    /// A step along the mean gradient of the task's images.
    fn step(&self, task: &Task<'_>, v: Tensor<4>, pass: usize) -> Tensor<4> {
        let norm = self.budget.norm();
        let moved = task.images() + v.clone().to_device(&task.images().device());
        let cut = moved.clone().lower_elem(0.0).bool_or(moved.clone().greater_elem(1.0));
        let bounded = |logits| task.goal().objective(logits).clamp(-self.beta, self.beta);
        // A pixel that is cut off does not move with v; one on the edge still may.
        let gradient = task.gradient(&moved.clamp(0.0, 1.0), bounded).gradient.mask_fill(cut, 0.0);
        let mean = gradient.mean_dim(0).to_device(&v.device());
        let length = self.step * self.decay.powi(pass as i32) * self.budget.size();
        norm.project(v + norm.unit_step(mean) * length, self.budget.size())
    }

    /// All passes over the images: see [`pass`](Self::pass).
    ///
    /// # Errors
    ///
    /// As [`pass`](Self::pass).
    pub fn learn<E: From<AttackError>>(
        &self,
        victim: &Frozen,
        count: usize,
        mut images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<UniversalPerturbation, E> {
        let shape = first_shape(count, &mut images)?;
        let mut perturbation = self.start(shape, victim.device())?;
        while self.pass(victim, &mut perturbation, count, &mut images)? {}
        Ok(perturbation)
    }
}
