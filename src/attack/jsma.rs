//! The Jacobian-based saliency map attack.

use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;

use super::base::{check, check_parameter, finite_or_zero, step};
use super::best::{Best, unset};
use super::rows::{take, values};
use super::saliency::best_pair;
use super::{Attack, AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

/// How near to the end of the range a feature counts as used up, torchattacks' 0.01.
const SATURATED: f32 = 0.01;

/// The Jacobian-based saliency map attack: two features (values of a pixel's channel) at a time, as few as
/// possible, until the target is reached.
///
/// Papernot, McDaniel, Jha, Fredrikson, Celik & Swami, "The Limitations of Deep Learning in Adversarial
/// Settings", EuroS&P 2016, algorithms 2 and 3: with alpha the summed derivative of the target's logit in two
/// features and beta that of all other logits, each step changes by theta the pair with the largest
/// `alpha * |beta|` among those with alpha > 0 > beta (theta > 0; the signs change with that of theta).
/// Features within 0.01 of the end of their range are left alone, as in torchattacks' `JSMA`, which this is
/// image for image with theta = 1. With a smaller one a feature can be chosen again until it is used up, as in
/// the paper, where torchattacks chooses each feature once.
///
/// Targeted. A step costs two gradients, whatever the number of classes; the pair is the best of all pairs,
/// found without a table of them: memory is linear in the number of features. Images without success come back
/// as they are.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | theta | 1 | -1 to 1, not 0 |
/// | gamma | 0.1 (the paper's Υ is 0.145) | above 0, at most 1 |
/// | limit | none | finite, at least 0: a number of features |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // Bright or not, by the first row.
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.narrow(2, 0, 1).mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone().neg() + 1.0, bright], 1)
/// });
/// let images = Tensor::<4>::from_floats([[[[0.2, 0.2], [0.4, 0.4]]]], &device);
/// let fallen = Jsma::new().with_gamma(1.0).perturb(&victim, images, &Goal::targeted([1]))?;
/// assert_eq!(fallen.into_data().try_into_vec::<f32>().unwrap(), [1.0, 1.0, 0.4, 0.4]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jsma {
    theta: f64,
    gamma: f64,
    limit: Option<Epsilon>,
}

impl Jsma {
    /// JSMA with torchattacks' defaults.
    pub fn new() -> Self {
        Self { theta: 1.0, gamma: 0.1, limit: None }
    }

    /// What is added to a chosen feature.
    pub fn with_theta(mut self, theta: f64) -> Self {
        self.theta = theta;
        self
    }

    /// The largest share of features that may change, two a step.
    pub fn with_gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }

    /// Leaves images as they are that would need more features, counted as [`Norm::L0`] does.
    pub fn with_limit(mut self, limit: Epsilon) -> Self {
        self.limit = Some(limit);
        self
    }

    fn check(&self, goal: &Goal) -> Result<(), AttackError> {
        check_parameter(goal.is_targeted(), "goal", "a targeted one", "an untargeted one")?;
        let theta = self.theta.abs() <= 1.0 && self.theta != 0.0;
        check_parameter(theta, "theta", "a number from -1 to 1 other than 0", self.theta)?;
        let gamma = self.gamma > 0.0 && self.gamma <= 1.0;
        check_parameter(gamma, "gamma", "a share above 0 and at most 1", self.gamma)
    }

    /// Changes the most salient pair of one image; false if there is none.
    fn change(&self, image: &mut [f32], target: &[f32], others: &[f32]) -> bool {
        let (theta, sign) = (self.theta as f32, self.theta.signum() as f32);
        let free = |value: f32| match sign > 0.0 {
            true => value < 1.0 - SATURATED,
            false => value > SATURATED,
        };
        let points = (0..image.len())
            .filter(|&i| free(image[i]))
            .map(|i| (i, sign * target[i], -sign * others[i]))
            .collect();
        let Some((p, q)) = best_pair(points) else { return false };
        [p, q].into_iter().for_each(|i| image[i] = (image[i] + theta).clamp(0.0, 1.0));
        true
    }
}

impl Default for Jsma {
    fn default() -> Self {
        Self::new()
    }
}

impl Attack for Jsma {
    fn name(&self) -> &'static str {
        "JSMA"
    }

    fn norm(&self) -> Norm {
        Norm::L0
    }

    fn epsilon(&self) -> Option<Epsilon> {
        self.limit
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(self.with_limit(epsilon))
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        check(victim, &images, goal, self.limit)?;
        self.check(goal)?;
        let mut images = images.inner();
        let [count, channels, height, width] = images.dims();
        let features = channels * height * width;
        if count == 0 || features == 0 {
            return Ok(images);
        }
        let most = self.limit.map_or(f64::INFINITY, Epsilon::value).min(features as f64 * self.gamma);
        let steps = (most / 2.0).ceil() as usize;
        let device = images.device();
        let mut best = Best::new(images.clone(), Norm::L0, self.limit);
        let mut positions: Vec<usize> = (0..count).collect();
        let mut goal = goal.clone();
        let stay =
            |positions: &mut Vec<usize>, goal: &mut Goal, images: &mut Tensor<4>, slots: Vec<usize>| {
                if slots.len() < positions.len() {
                    *positions = slots.iter().map(|&slot| positions[slot]).collect();
                    *goal = goal.select(&slots);
                    *images = take(images, &slots);
                }
            };
        for done in 0..steps {
            step(victim, self.name(), done, steps)?;
            let target = victim.input_gradient(images.clone(), |logits| chosen(&logits, &goal));
            let reached = goal.reached(target.logits);
            best.offer(&positions, &images, &reached);
            let slots = unset(&reached);
            if slots.is_empty() {
                return Ok(best.into_images());
            }
            let target = values(take(&finite_or_zero(target.gradient), &slots));
            stay(&mut positions, &mut goal, &mut images, slots);
            let others = victim.input_gradient(images.clone(), |logits| {
                logits.clone().sum_dim(1).reshape([positions.len()]) - chosen(&logits, &goal)
            });
            let others = values(finite_or_zero(others.gradient));
            let mut pixels = values(images.clone());
            let changed: Vec<bool> = pixels
                .par_chunks_mut(features)
                .zip(target.par_chunks(features).zip(others.par_chunks(features)))
                .map(|(image, (target, others))| self.change(image, target, others))
                .collect();
            images = Tensor::from_data(
                TensorData::new(pixels, [positions.len(), channels, height, width]),
                &device,
            );
            let slots: Vec<usize> = (0..positions.len()).filter(|&slot| changed[slot]).collect();
            stay(&mut positions, &mut goal, &mut images, slots);
            if positions.is_empty() {
                return Ok(best.into_images());
            }
        }
        let reached = goal.reached(victim.logits(images.clone()));
        best.offer(&positions, &images, &reached);
        Ok(best.into_images())
    }
}

/// The logit of each image's own class.
fn chosen(logits: &Tensor<2>, goal: &Goal) -> Tensor<1> {
    let classes = Tensor::<1, Int>::from_data(goal.classes(), &logits.device());
    let count = goal.classes().len();
    logits.clone().gather(1, classes.reshape([count, 1])).reshape([count])
}
