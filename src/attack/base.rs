//! The trait that every attack implements, and the checks that all of them share.

use std::fmt::{Debug, Display};

use burn::tensor::Tensor;

use super::rows::values;
use super::{Access, AttackError, Goal, Norm};
use crate::classifier::{Frozen, Step};
use crate::pixels::Epsilon;

/// A recipe that turns images into adversarial images: object-safe, stateless, owning no model.
pub trait Attack: Debug + Send + Sync {
    /// The attack's name in reports, as its paper gives it.
    fn name(&self) -> &'static str;

    /// The norm in which [`epsilon`](Self::epsilon) bounds the perturbation.
    fn norm(&self) -> Norm;

    /// The bound on the perturbation of an image; `None` if the attack looks for the smallest one instead.
    fn epsilon(&self) -> Option<Epsilon>;

    /// The same attack with another bound, for sweeps over epsilon. An attack that looks for the smallest
    /// perturbation then leaves the images as they are for which it finds none within the bound.
    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack>;

    /// What the attack needs from the victim.
    fn access(&self) -> Access {
        Access::Gradients
    }

    /// Steps of an image, at most: 1 for a one-step attack. `None` if nothing bounds them.
    fn steps(&self) -> Option<usize> {
        None
    }

    /// The same attack with twice the effort (steps, restarts or queries), for the check that more effort
    /// would not find more; `None` if it has nothing to double.
    fn stronger(&self) -> Option<Box<dyn Attack>> {
        None
    }

    /// Adversarial versions of `images`, within the bound and within \[0,1\].
    ///
    /// An image's result depends on that image, its label and its index alone, not on its neighbours. An
    /// entry of the gradient that is NaN or infinite counts as zero.
    ///
    /// # Shapes
    ///
    /// - `images`, output: `[batch, channels, height, width]`, values in \[0,1\]
    ///
    /// # Errors
    ///
    /// [`AttackError`] on a bad parameter, label or image, before any work; [`AttackError::Stopped`] if a stop
    /// was asked for through [`Frozen::watch`].
    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError>;

    /// What [`perturb`](Self::perturb) gives with each of these bounds, from work that they share; `None` if
    /// there is nothing to share.
    ///
    /// # Errors
    ///
    /// As [`perturb`](Self::perturb).
    fn sweep(
        &self,
        victim: &Frozen,
        images: &Tensor<4>,
        goal: &Goal,
        epsilons: &[Epsilon],
    ) -> Option<Result<Vec<Tensor<4>>, AttackError>> {
        let _ = (victim, images, goal, epsilons);
        None
    }
}

/// The checks before any work: budget, labels and the range of the images.
pub(crate) fn check(
    victim: &Frozen,
    images: &Tensor<4>,
    goal: &Goal,
    epsilon: impl Into<Option<Epsilon>>,
) -> Result<(), AttackError> {
    if let Some(epsilon) = epsilon.into() {
        check_parameter(epsilon.is_valid(), "epsilon", "a finite number of at least 0", epsilon.value())?;
    }
    goal.check(images.dims()[0], victim.num_classes())?;
    check_range(images)
}

/// The check of one parameter: an error that names it unless `ok`.
pub(crate) fn check_parameter(
    ok: bool,
    parameter: &'static str,
    expected: &'static str,
    found: impl Display,
) -> Result<(), AttackError> {
    match ok {
        true => Ok(()),
        false => Err(AttackError::Parameter { parameter, expected, found: found.to_string() }),
    }
}

/// Before step `done` of `total` of an attack on a batch: reports it, and fails if a stop was asked for.
pub(crate) fn step(
    victim: &Frozen,
    attack: &'static str,
    done: usize,
    total: usize,
) -> Result<(), AttackError> {
    victim.watch().report(Step { attack, done, total });
    match victim.watch().is_stopped() {
        true => Err(AttackError::Stopped),
        false => Ok(()),
    }
}

fn check_range(images: &Tensor<4>) -> Result<(), AttackError> {
    let [batch, ..] = images.dims();
    if images.shape().num_elements() == 0 {
        return Ok(());
    }
    // NaN compares false on both sides: such an image is let through and stays with itself.
    let outside = images.clone().lower_elem(0.0).bool_or(images.clone().greater_elem(1.0));
    if !outside.any().into_scalar::<bool>() {
        return Ok(());
    }
    let values = values(images.clone());
    let size = values.len() / batch;
    let (position, value) = values
        .iter()
        .enumerate()
        .find(|(_, v)| !(0.0..=1.0).contains(*v) && !v.is_nan())
        .expect("found above");
    Err(AttackError::ImageRange { image: position / size, value: *value })
}

/// A gradient in which every entry that is NaN or infinite counts as zero.
pub(crate) fn finite_or_zero(gradient: Tensor<4>) -> Tensor<4> {
    let bad = gradient.clone().is_finite().bool_not();
    gradient.mask_fill(bad, 0.0)
}
