//! DeepFool.

use burn::tensor::{Int, Tensor};

use super::base::{check, check_parameter, finite_or_zero, step};
use super::best::{Best, unset};
use super::parameters::{at_least_one, from_zero};
use super::rows::{choose, factors, take, values};
use super::{Attack, AttackError, Goal, Norm};
use crate::classifier::{Frozen, InputGradient};
use crate::pixels::Epsilon;

/// DeepFool: step by step to the nearest boundary of a linearised classifier, until the class changes.
///
/// Moosavi-Dezfooli, Fawzi & Frossard, "DeepFool: a simple and accurate method to fool deep neural networks",
/// CVPR 2016, algorithm 2: with `f_k` the logit of class k less that of the true one and `w_k` its gradient,
/// the step goes to the class with the smallest `|f_k| / |w_k|_q`, and is `|f_k| / |w_k|_2^2 * w_k` in L2
/// (q = 2), `|f_k| / |w_k|_1 * sign(w_k)` in L-infinity (q = 1). The steps add up, and the image is the
/// original plus (1 + overshoot) times their sum, clipped to \[0,1\]: as the authors' code and foolbox's
/// `L2DeepFoolAttack` and `LinfDeepFoolAttack` do, image for image, with their 1e-4 added to each distance.
/// (torchattacks overshoots each step anew.)
///
/// Untargeted. The classes to go to are the most likely ones of the original image. Images leave the batch
/// as they fall, so that a step costs (candidates - 1) gradients for those that still stand.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | norm | L2 | L2, L-infinity |
/// | steps | 50 | at least 1 |
/// | overshoot | 0.02 | finite, at least 0 |
/// | candidates | 10 | at least 2, the true class among them |
/// | limit | none | finite, at least 0 |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone(), bright.neg() + 1.0], 1)
/// });
/// // "Bright" ends at a mean of 0.5, and every pixel has to give its part.
/// let images = Tensor::full([1, 1, 2, 2], 0.6, &device);
/// let attack = DeepFool::new().with_norm(Norm::Linf);
/// let fallen = attack.perturb(&victim, images, &Goal::untargeted([0]))?;
/// assert!((fallen.mean().into_scalar::<f32>() - 0.498).abs() < 1e-3);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeepFool {
    norm: Norm,
    steps: usize,
    overshoot: f64,
    candidates: usize,
    limit: Option<Epsilon>,
}

impl DeepFool {
    /// DeepFool in L2 with the paper's overshoot.
    pub fn new() -> Self {
        Self { norm: Norm::L2, steps: 50, overshoot: 0.02, candidates: 10, limit: None }
    }

    /// The norm whose nearest boundary is looked for.
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// Steps at most.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// How far past the boundary to go, as a share of the way.
    pub fn with_overshoot(mut self, overshoot: f64) -> Self {
        self.overshoot = overshoot;
        self
    }

    /// How many of the most likely classes to look at, the true one counted.
    pub fn with_candidates(mut self, candidates: usize) -> Self {
        self.candidates = candidates;
        self
    }

    /// Leaves images as they are whose perturbation would be larger.
    pub fn with_limit(mut self, limit: Epsilon) -> Self {
        self.limit = Some(limit);
        self
    }

    fn check(&self, goal: &Goal) -> Result<(), AttackError> {
        let goal_is = if goal.is_targeted() { "a targeted one" } else { "an untargeted one" };
        check_parameter(!goal.is_targeted(), "goal", "an untargeted one", goal_is)?;
        check_parameter(matches!(self.norm, Norm::L2 | Norm::Linf), "norm", "L2 or Linf", self.norm)?;
        at_least_one("steps", self.steps)?;
        from_zero("overshoot", self.overshoot)?;
        check_parameter(self.candidates >= 2, "candidates", "at least 2", self.candidates)
    }

    /// The lengths by which distances to a boundary are divided, and the direction of a step there.
    fn slope(&self, gradient: Tensor<4>) -> (Vec<f32>, Tensor<4>) {
        let dual = if self.norm == Norm::L2 { Norm::L2 } else { Norm::L1 };
        let lengths: Vec<f32> =
            values(dual.measure(gradient.clone())).into_iter().map(|length| length + 1e-8).collect();
        let direction = match self.norm {
            Norm::L2 => {
                let shares: Vec<f32> = lengths.iter().map(|length| length.recip()).collect();
                gradient.clone() * factors(&shares, &gradient)
            }
            _ => gradient.sign(),
        };
        (lengths, direction)
    }
}

impl Default for DeepFool {
    fn default() -> Self {
        Self::new()
    }
}

/// The images that still stand, with what is known of them.
struct Standing {
    positions: Vec<usize>,
    originals: Tensor<4>,
    total: Tensor<4>,
    images: Tensor<4>,
    goal: Goal,
    /// The other classes, the most likely one first.
    others: Vec<Vec<i64>>,
}

impl Standing {
    fn take(&self, slots: &[usize]) -> Self {
        Self {
            positions: slots.iter().map(|&slot| self.positions[slot]).collect(),
            originals: take(&self.originals, slots),
            total: take(&self.total, slots),
            images: take(&self.images, slots),
            goal: self.goal.select(slots),
            others: slots.iter().map(|&slot| self.others[slot].clone()).collect(),
        }
    }

    /// The gradient of class `rank`'s logit less the true class's, and that difference.
    fn towards(&self, victim: &Frozen, rank: usize) -> (InputGradient, Vec<f32>) {
        let classes: Vec<i64> = self.others.iter().map(|others| others[rank]).collect();
        let pass = victim.input_gradient(self.images.clone(), |logits| {
            let column = |classes: &[i64]| {
                let classes = Tensor::<1, Int>::from_data(classes, &logits.device());
                classes.reshape([self.positions.len(), 1])
            };
            let (other, own) = (column(&classes), column(self.goal.classes()));
            (logits.clone().gather(1, other) - logits.gather(1, own)).reshape([self.positions.len()])
        });
        let width = pass.logits.dims()[1];
        let logits = values(pass.logits.clone());
        let differences = logits
            .chunks(width)
            .zip(classes.iter().zip(self.goal.classes()))
            .map(|(row, (&other, &own))| row[other as usize] - row[own as usize])
            .collect();
        (pass, differences)
    }
}

impl Attack for DeepFool {
    fn name(&self) -> &'static str {
        "DeepFool"
    }

    fn norm(&self) -> Norm {
        self.norm
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
        let images = images.inner();
        let count = images.dims()[0];
        if count == 0 {
            return Ok(images);
        }
        step(victim, self.name(), 0, self.steps)?;
        let logits = victim.logits(images.clone());
        let fallen = goal.reached(logits.clone());
        let candidates = self.candidates.min(victim.num_classes());
        let mut standing = Standing {
            positions: (0..count).collect(),
            total: images.zeros_like(),
            originals: images.clone(),
            others: most_likely_others(logits, goal.classes(), candidates.saturating_sub(1)),
            images: images.clone(),
            goal: goal.clone(),
        };
        let mut best = Best::new(images, self.norm, self.limit);
        standing = standing.take(&unset(&fallen));
        for done in 0..self.steps {
            if standing.positions.is_empty() || candidates < 2 {
                return Ok(best.into_images());
            }
            step(victim, self.name(), done, self.steps)?;
            let (pass, differences) = standing.towards(victim, 0);
            let fallen = standing.goal.reached(pass.logits);
            best.offer(&standing.positions, &standing.images, &fallen);
            let slots = unset(&fallen);
            if slots.is_empty() {
                return Ok(best.into_images());
            }
            standing = standing.take(&slots);
            let differences: Vec<f32> = slots.iter().map(|&slot| differences[slot]).collect();
            let (lengths, mut direction) = self.slope(finite_or_zero(take(&pass.gradient, &slots)));
            let distance = |differences: &[f32], lengths: &[f32]| -> Vec<f32> {
                differences.iter().zip(lengths).map(|(d, length)| d.abs() / length).collect()
            };
            let mut distances = distance(&differences, &lengths);
            for rank in 1..candidates - 1 {
                let (pass, differences) = standing.towards(victim, rank);
                let (lengths, other) = self.slope(finite_or_zero(pass.gradient));
                let further = distance(&differences, &lengths);
                let nearer: Vec<bool> = further.iter().zip(&distances).map(|(new, old)| new < old).collect();
                direction = choose(&nearer, other, direction);
                distances
                    .iter_mut()
                    .zip(further)
                    .for_each(|(old, new)| *old = if new < *old { new } else { *old });
            }
            let way: Vec<f32> = distances.iter().map(|distance| distance + 1e-4).collect();
            standing.total = standing.total + direction.clone() * factors(&way, &direction);
            let moved = standing.originals.clone() + standing.total.clone() * (1.0 + self.overshoot);
            standing.images = moved.clamp(0.0, 1.0);
        }
        let fallen = standing.goal.reached(victim.logits(standing.images.clone()));
        best.offer(&standing.positions, &standing.images, &fallen);
        Ok(best.into_images())
    }
}

/// For each image so many classes other than its own, those with the largest logits first.
fn most_likely_others(logits: Tensor<2>, own: &[i64], count: usize) -> Vec<Vec<i64>> {
    let width = logits.dims()[1];
    let others = |(row, &own): (&[f32], &i64)| {
        let mut classes: Vec<i64> = (0..width as i64).filter(|&class| class != own).collect();
        classes.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]));
        classes.truncate(count);
        classes
    };
    values(logits).chunks(width.max(1)).zip(own).map(others).collect()
}
