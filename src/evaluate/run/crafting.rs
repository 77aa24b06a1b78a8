//! The images of a batch on their way through an attack: perturbed, held to the budget, judged.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::enforce::enforce;
use crate::attack::Goal;
use crate::classifier::Frozen;
use crate::evaluate::EvaluationError;
use crate::evaluate::result::{AttackRecord, GradientState, Outcome, Violations};
use crate::pixels::{Budget, Distances};
use crate::rows::{Rows, batch, values};

/// Images to attack, on the device and in memory.
pub(crate) struct Targets {
    pub(crate) images: Tensor<4>,
    pub(crate) goal: Goal,
    pub(super) pixels: Vec<f32>,
}

impl Targets {
    fn size(&self) -> usize {
        self.images.dims()[1..].iter().product::<usize>().max(1)
    }

    /// The image in this row alone.
    pub(crate) fn only(&self, row: usize) -> Self {
        let pixels = self.pixels[row * self.size()..][..self.size()].to_vec();
        Self { images: self.images.keep(&[row]), goal: self.goal.keep(&[row]), pixels }
    }

    /// The values of each image.
    pub(crate) fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.pixels.chunks_exact(self.size())
    }

    /// What the classifier makes of the images as they are, and rounded to 8 bits.
    pub(crate) fn classified(&self, victim: &Frozen) -> Result<Vec<(Outcome, Outcome)>, EvaluationError> {
        outcomes(victim, &self.images, &self.pixels)
    }

    /// The state of each image's gradient.
    pub(crate) fn gradient_states(&self, victim: &Frozen) -> Vec<GradientState> {
        let loss = |logits| self.goal.objective(logits);
        let gradient = victim.input_gradient(self.images.clone(), loss).gradient;
        let state = |image: &[f32]| match () {
            () if image.iter().any(|g| !g.is_finite()) => GradientState::NotFinite,
            () if image.iter().all(|&g| g == 0.0) => GradientState::Zero,
            () => GradientState::Usable,
        };
        values(gradient).chunks(self.size()).map(state).collect()
    }

    /// The images as they are, as attacked without any change.
    pub(crate) fn unchanged(&self, untouched: Vec<AttackRecord>) -> Vec<AttackRecord> {
        self.measured(untouched, &self.pixels)
    }

    /// An attack's result held to its budget, if it has one. It comes from the device once, and goes back
    /// only where it had to be corrected.
    pub(crate) fn crafted(
        &self,
        result: Tensor<4>,
        budget: Option<Budget>,
    ) -> Result<Crafted, EvaluationError> {
        expect_shape("the attack's result", &self.images.dims(), &result.dims())?;
        let result = result.inner().to_device(&self.images.device());
        let mut pixels = values(result.clone());
        let (violations, corrected): (Vec<Violations>, Vec<bool>) = pixels
            .par_chunks_mut(self.size())
            .zip(self.pixels.par_chunks(self.size()))
            .map(|(adversarial, original)| enforce(original, adversarial, budget))
            .unzip();
        let images = if corrected.contains(&true) { batch(pixels.clone(), &self.images) } else { result };
        Ok(Crafted { images, pixels, violations })
    }

    /// What the classifier makes of an attack's result, held to its budget.
    pub(crate) fn judged(
        &self,
        result: Tensor<4>,
        budget: Option<Budget>,
        victim: &Frozen,
    ) -> Result<Vec<AttackRecord>, EvaluationError> {
        let Crafted { images, pixels, violations } = self.crafted(result, budget)?;
        let records = outcomes(victim, &images, &pixels)?.into_iter().zip(violations);
        let records = records.map(|((outcome, eight_bit), violations)| AttackRecord {
            violations,
            ..AttackRecord::untouched(outcome, eight_bit)
        });
        Ok(self.measured(records.collect(), &pixels))
    }

    fn measured(&self, mut records: Vec<AttackRecord>, pixels: &[f32]) -> Vec<AttackRecord> {
        let [_, channels, height, width] = self.images.dims();
        records
            .par_iter_mut()
            .zip(self.pixels.par_chunks(self.size()))
            .zip(pixels.par_chunks(self.size()))
            .for_each(|((record, original), adversarial)| {
                record.distances = Some(Distances::between(original, adversarial, [channels, height, width]));
            });
        records
    }
}

/// An attack's result within its budget and within \[0,1\].
pub(crate) struct Crafted {
    pub(crate) images: Tensor<4>,
    pixels: Vec<f32>,
    violations: Vec<Violations>,
}

/// What the classifier makes of these images.
pub(crate) fn classify(victim: &Frozen, images: Tensor<4>) -> Result<Vec<Outcome>, EvaluationError> {
    let expected = [images.dims()[0], victim.num_classes()];
    let logits = victim.logits(images);
    expect_shape("the classifier's logits", &expected, &logits.dims())?;
    Ok(Outcome::from_batch(logits))
}

/// What the classifier makes of these images, and of them rounded to 8 bits: it is asked again only where
/// rounding changes something.
fn outcomes(
    victim: &Frozen,
    images: &Tensor<4>,
    pixels: &[f32],
) -> Result<Vec<(Outcome, Outcome)>, EvaluationError> {
    let mut outcomes: Vec<_> = classify(victim, images.clone())?.into_iter().map(|o| (o, o)).collect();
    let size = images.dims()[1..].iter().product::<usize>();
    let rounded: Vec<f32> = pixels.iter().map(|&pixel| (pixel * 255.0).round() / 255.0).collect();
    let image = |i: usize| i * size..(i + 1) * size;
    let changed: Vec<usize> =
        (0..outcomes.len()).filter(|&i| rounded[image(i)] != pixels[image(i)]).collect();
    if !changed.is_empty() {
        let rounded = changed.iter().flat_map(|&i| &rounded[image(i)]).copied().collect();
        let again = classify(victim, batch(rounded, images))?;
        changed.into_iter().zip(again).for_each(|(i, outcome)| outcomes[i].1 = outcome);
    }
    Ok(outcomes)
}

pub(super) fn expect_shape(
    what: &'static str,
    expected: &[usize],
    found: &[usize],
) -> Result<(), EvaluationError> {
    let differs = || EvaluationError::Shape { what, expected: expected.to_vec(), found: found.to_vec() };
    if expected == found { Ok(()) } else { Err(differs()) }
}
