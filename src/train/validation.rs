//! Validation under attack.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::record::Attacked;
use crate::attack::steps::random_start;
use crate::attack::{Attack, AttackError, Fgsm, Goal, Task, norm_among};
use crate::classifier::Frozen;
use crate::data::Batch;
use crate::parameter::{Parameter, ParameterError};
use crate::pixels::{Budget, Norm, round};
use crate::rows::{flagged, take, values};

/// What validation images are put under in every epoch.
#[derive(Debug)]
pub(super) struct Adversary {
    pub(super) attack: Arc<dyn Attack>,
    budget: Budget,
}

/// Sums over the validation images of one epoch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AttackedSums {
    pub(super) images: usize,
    pub(super) right: usize,
    pub(super) fgsm_right: usize,
    /// Cosines between gradients, over the images whose gradients are not zero.
    pub(super) cosines: f64,
    pub(super) turned: usize,
}

impl AttackedSums {
    pub(super) fn add(&mut self, more: Self) {
        self.images += more.images;
        self.right += more.right;
        self.fgsm_right += more.fgsm_right;
        self.cosines += more.cosines;
        self.turned += more.turned;
    }

    /// `None` without images.
    pub(super) fn mean(&self) -> Option<Attacked> {
        let share = |count: usize| round(count as f64 / self.images as f64);
        (self.images > 0).then(|| Attacked {
            accuracy: share(self.right),
            fgsm_accuracy: share(self.fgsm_right),
            alignment: (self.turned > 0).then(|| round(self.cosines / self.turned as f64)),
        })
    }
}

impl Adversary {
    /// Refuses attacks without a budget, or in a norm in which FGSM has no step.
    pub(super) fn new(attack: Arc<dyn Attack>) -> Result<Self, ParameterError> {
        let profile = attack.profile();
        let budget = profile.budget();
        let found = &profile.name;
        Parameter::new("validation attack", "an attack with a budget", budget.is_some(), found).check()?;
        let budget = budget.expect("checked above");
        norm_among(budget.norm(), &[Norm::Linf, Norm::L2, Norm::L1]).check()?;
        Ok(Self { attack, budget })
    }

    /// Attacks the images of a batch that are right, takes one FGSM step on all of them, and compares their gradients with those at
    /// a random point of the ball (Andriushchenko & Flammarion, NeurIPS 2020, section 3).
    pub(super) fn measure(&self, victim: &Frozen, batch: &Batch) -> Result<AttackedSums, AttackError> {
        let images = batch.images.clone().inner();
        let goal = Goal::untargeted(batch.labels.clone().inner()).with_indices(batch.indices.clone());
        let standing =
            |images: &Tensor<4>, goal: &Goal| flagged(&goal.reached(victim.logits(images.clone())), false);
        let right = standing(&images, &goal);
        let mut sums = AttackedSums { images: goal.classes().len(), ..AttackedSums::default() };
        if !right.is_empty() {
            let goal = goal.select(&right);
            let adversarial = self.attack.perturb(victim, take(&images, &right), &goal)?;
            sums.right = standing(&adversarial, &goal).len();
        }
        let stepped = Fgsm::new(self.budget).perturb(victim, images.clone(), &goal)?;
        sums.fgsm_right = standing(&stepped, &goal).len();

        let task = Task::new(victim, images.clone(), &goal, self.attack.profile())?;
        let here = task.ascent(&images).gradient;
        let there = task.ascent(&random_start(&task, self.budget, 0)).gradient;
        let dot = |a: &Tensor<4>, b: &Tensor<4>| values((a.clone() * b.clone()).sum_dims(&[1, 2, 3]));
        let (both, a, b) = (dot(&here, &there), dot(&here, &here), dot(&there, &there));
        for ((both, a), b) in both.into_iter().zip(a).zip(b) {
            let cosine = f64::from(both) / (f64::from(a).sqrt() * f64::from(b).sqrt());
            if cosine.is_finite() {
                sums.cosines += cosine;
                sums.turned += 1;
            }
        }
        Ok(sums)
    }
}
