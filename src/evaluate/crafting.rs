//! The images of a batch on their way through an attack: chosen, perturbed, held to the budget, judged.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::budget::{Violations, enforce};
use super::{AttackRecord, Distances, EvaluationError, GradientState, Outcome};
use crate::attack::rows::values;
use crate::attack::{Goal, Norm};
use crate::classifier::Frozen;

/// Images to attack, on the device and in memory.
pub(super) struct Targets {
    pub(super) images: Tensor<4>,
    pub(super) goal: Goal,
    pixels: Vec<f32>,
}

impl Targets {
    /// `labels` and the images' `indices` in their data set, one an image.
    pub(super) fn new(images: Tensor<4>, labels: Vec<usize>, indices: Vec<u64>) -> Self {
        let goal = Goal::untargeted(labels).with_indices(indices);
        Self { pixels: values(images.clone()), images, goal }
    }

    fn size(&self) -> usize {
        self.images.dims()[1..].iter().product::<usize>().max(1)
    }

    /// The state of each image's gradient.
    pub(super) fn gradient_states(&self, victim: &Frozen) -> Vec<GradientState> {
        let gradient =
            victim.input_gradient(self.images.clone(), |logits| self.goal.objective(logits)).gradient;
        let state = |image: &[f32]| match () {
            () if image.iter().any(|g| !g.is_finite()) => GradientState::NotFinite,
            () if image.iter().all(|&g| g == 0.0) => GradientState::Zero,
            () => GradientState::Usable,
        };
        values(gradient).chunks(self.size()).map(state).collect()
    }

    /// The images as they are, with what the classifier made of them.
    pub(super) fn unchanged(&self, clean: &[(Outcome, Option<Outcome>)]) -> Vec<AttackRecord> {
        let records = clean.iter().map(|&(outcome, eight_bit)| AttackRecord::untouched(outcome, eight_bit));
        self.measured(records.collect(), &self.pixels)
    }

    /// An attack's result held to its budget, ready to be judged.
    pub(super) fn crafted(
        &self,
        result: Tensor<4>,
        norm: Norm,
        limit: f64,
    ) -> Result<Crafted, EvaluationError> {
        expect_shape("the attack's result", &self.images.dims(), &result.dims())?;
        let mut pixels = values(result);
        let violations = pixels
            .par_chunks_mut(self.size())
            .zip(self.pixels.par_chunks(self.size()))
            .map(|(adversarial, original)| enforce(original, adversarial, norm, limit))
            .collect();
        Ok(Crafted { pixels, violations, shape: self.images.dims() })
    }

    /// What the classifier makes of them.
    pub(super) fn judged(
        &self,
        crafted: &Crafted,
        victim: &Frozen,
        eight_bit: bool,
    ) -> Result<Vec<AttackRecord>, EvaluationError> {
        let outcomes = classify(victim, crafted.images(victim))?;
        let rounded = match eight_bit {
            true => eight_bit_outcomes(victim, &crafted.pixels, crafted.shape, &outcomes)?,
            false => vec![None; outcomes.len()],
        };
        let records = outcomes.into_iter().zip(rounded).zip(&crafted.violations);
        let records = records.map(|((outcome, eight_bit), violations)| AttackRecord {
            over_budget: violations.over_budget,
            out_of_range: violations.out_of_range,
            not_finite: violations.not_finite,
            ..AttackRecord::untouched(outcome, eight_bit)
        });
        Ok(self.measured(records.collect(), &crafted.pixels))
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
pub(super) struct Crafted {
    pixels: Vec<f32>,
    violations: Vec<Violations>,
    shape: [usize; 4],
}

impl Crafted {
    pub(super) fn images(&self, victim: &Frozen) -> Tensor<4> {
        Tensor::from_data(TensorData::new(self.pixels.clone(), self.shape), victim.device())
    }
}

/// What the classifier makes of these images.
pub(super) fn classify(victim: &Frozen, images: Tensor<4>) -> Result<Vec<Outcome>, EvaluationError> {
    let expected = [images.dims()[0], victim.num_classes()];
    let logits = victim.logits(images);
    expect_shape("the classifier's logits", &expected, &logits.dims())?;
    Ok(Outcome::from_batch(logits))
}

/// What the classifier makes of the images rounded to 8 bits; `outcomes` are those of the images themselves,
/// which hold where rounding changes nothing.
pub(super) fn eight_bit_outcomes(
    victim: &Frozen,
    pixels: &[f32],
    shape: [usize; 4],
    outcomes: &[Outcome],
) -> Result<Vec<Option<Outcome>>, EvaluationError> {
    let rounded: Vec<f32> = pixels.iter().map(|&pixel| (pixel * 255.0).round() / 255.0).collect();
    let size = shape[1..].iter().product::<usize>().max(1);
    let changed: Vec<usize> =
        (0..shape[0]).filter(|&i| rounded[i * size..][..size] != pixels[i * size..][..size]).collect();
    let mut found: Vec<Option<Outcome>> = outcomes.iter().copied().map(Some).collect();
    if !changed.is_empty() {
        let data: Vec<f32> = changed.iter().flat_map(|&i| &rounded[i * size..][..size]).copied().collect();
        let data = TensorData::new(data, [changed.len(), shape[1], shape[2], shape[3]]);
        let again = classify(victim, Tensor::from_data(data, victim.device()))?;
        changed.into_iter().zip(again).for_each(|(i, outcome)| found[i] = Some(outcome));
    }
    Ok(found)
}

fn expect_shape(what: &'static str, expected: &[usize], found: &[usize]) -> Result<(), EvaluationError> {
    match expected == found {
        true => Ok(()),
        false => Err(EvaluationError::Shape { what, expected: expected.to_vec(), found: found.to_vec() }),
    }
}
