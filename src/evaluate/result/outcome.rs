//! What the classifier made of one image, without attack and under attack.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::classifier::highest;
use crate::pixels::{Distances, Norm};
use crate::rows::values;

/// What the classifier made of one image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The class with the highest logit, the lower one on a tie; `None` if a logit is NaN, which counts as
    /// wrong.
    pub prediction: Option<usize>,
    /// Softmax probability of the positive class, the last one; `None` if it cannot be computed.
    pub probability: Option<f32>,
    /// With two classes, the positive class's logit minus the other's, for AUROC: unlike the probability it
    /// does not saturate at 1. `None` for other numbers of classes or if it is NaN.
    pub score: Option<f32>,
    /// Whether every logit is finite.
    pub finite: bool,
}

impl Outcome {
    /// From the logits of one image.
    pub fn from_logits(logits: &[f32]) -> Self {
        let finite = logits.iter().all(|l| l.is_finite());
        let nan = logits.is_empty() || logits.iter().any(|l| l.is_nan());
        let best = highest(logits);
        let exponentials = logits.iter().map(|&l| (f64::from(l) - f64::from(logits[best])).exp());
        let positive = exponentials.clone().next_back().unwrap_or(f64::NAN) / exponentials.sum::<f64>();
        let score = match logits {
            // JSON has no infinity; the largest number sorts the same.
            [negative, positive] => Some((positive - negative).clamp(f32::MIN, f32::MAX)),
            _ => None,
        };
        Self {
            prediction: (!nan).then_some(best),
            probability: Some(positive as f32).filter(|p| p.is_finite()),
            score: score.filter(|s| !s.is_nan()),
            finite,
        }
    }

    /// From a batch of logits `[batch, classes]`.
    pub fn from_batch(logits: Tensor<2>) -> Vec<Self> {
        let [_, classes] = logits.dims();
        values(logits).chunks(classes.max(1)).map(Self::from_logits).collect()
    }

    /// Whether the prediction is this class.
    pub fn is(&self, label: usize) -> bool {
        self.prediction == Some(label)
    }
}

/// The cross-entropy's gradient with respect to an image that was about to be attacked.
///
/// A zero gradient at many images is a sign of masked gradients: the attack fails, and the model is no more
/// robust for it (Athalye, Carlini & Wagner, ICML 2018).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GradientState {
    /// Finite and not zero everywhere.
    Usable,
    /// Zero everywhere.
    Zero,
    /// NaN or infinite somewhere.
    NotFinite,
    /// Not looked at: the image was already wrong, or nothing was attacked.
    #[default]
    NotSeen,
}

/// One image under one attack with one budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackRecord {
    /// What the classifier made of the adversarial image; of the original if it was not attacked.
    pub outcome: Outcome,
    /// The same of the adversarial image rounded to 8 bits, as a PNG holds it.
    pub eight_bit: Outcome,
    /// How far the adversarial image is from the original, after the budget was enforced; `None` if the
    /// image was not attacked: already wrong, or already fallen to an earlier attack.
    pub distances: Option<Distances>,
    /// What had to be corrected before it was judged.
    #[serde(default, skip_serializing_if = "Violations::is_none")]
    pub violations: Violations,
}

/// How an attack's result broke its contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violations {
    /// It left its budget and was projected back.
    pub over_budget: bool,
    /// It left \[0,1\] and was clipped.
    pub out_of_range: bool,
    /// It has a NaN or infinite pixel, which was replaced by the original one.
    pub not_finite: bool,
}

impl Violations {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl AttackRecord {
    /// An image that was not attacked.
    pub(crate) fn untouched(outcome: Outcome, eight_bit: Outcome) -> Self {
        Self { outcome, eight_bit, distances: None, violations: Violations::default() }
    }

    /// Whether this attack broke an image of this class.
    pub(crate) fn fell(&self, label: usize) -> bool {
        self.distances.is_some() && !self.outcome.is(label)
    }

    /// How far an image of this class was moved until it fell; infinite if it did not fall, or not to this
    /// attack.
    pub(crate) fn size(&self, label: usize, norm: Norm) -> f64 {
        self.distances.filter(|_| self.fell(label)).map_or(f64::INFINITY, |distances| distances.in_norm(norm))
    }
}

/// One image without attack and under all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The image's short name.
    pub name: String,
    /// The slide or patient that it belongs to.
    pub group: String,
    /// Its true class.
    pub label: usize,
    /// Without attack.
    pub clean: Outcome,
    /// Without attack, rounded to 8 bits.
    pub clean_eight_bit: Outcome,
    /// The gradient at the original image.
    pub gradient: GradientState,
    /// Under each attack with a norm.
    pub attacks: Vec<AttackedImage>,
    /// Under each [semantic](crate::attack::Aim::Semantic) attack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub semantic: Vec<AttackRecord>,
}

impl ImageRecord {
    /// Whether it is classified correctly without attack, and so attacked.
    pub(crate) fn is_right(&self) -> bool {
        self.clean.is(self.label)
    }
}

/// One image under one attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackedImage {
    /// What a search for the smallest perturbation found, without a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searched: Option<AttackRecord>,
    /// With each of the attack's budgets.
    pub at: Vec<AttackRecord>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_no_prediction_and_infinity_is_one() {
        let nan = Outcome::from_logits(&[f32::NAN, 1.0]);
        assert_eq!((nan.prediction, nan.probability, nan.score, nan.finite), (None, None, None, false));
        let infinite = Outcome::from_logits(&[1.0, f32::INFINITY]);
        assert_eq!((infinite.prediction, infinite.score, infinite.finite), (Some(1), Some(f32::MAX), false));
        let certain = Outcome::from_logits(&[0.0, f32::NEG_INFINITY]);
        assert_eq!((certain.prediction, certain.probability), (Some(0), Some(0.0)));
    }

    #[test]
    fn probability_is_the_softmax_of_the_last_class() {
        // 1 / (1 + e^-1 + e^-3), by hand.
        let outcome = Outcome::from_logits(&[-1.0, 1.0, 2.0]);
        assert!((f64::from(outcome.probability.unwrap()) - 0.705384513).abs() < 1e-6);
        assert_eq!((outcome.prediction, outcome.score), (Some(2), None));
        let huge = Outcome::from_logits(&[0.0, 3e38]);
        assert_eq!((huge.probability, huge.score), (Some(1.0), Some(3e38)));
    }
}
