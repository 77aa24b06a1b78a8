//! What an evaluation found.

use serde::{Deserialize, Serialize};

use super::interval::round;
use super::{
    AttackRecord, Distances, EvaluationError, GradientState, ImageRecord, Judged, Metrics, Outcome,
    Perturbation, Proportion,
};
use crate::attack::Norm;
use crate::pixels::Epsilon;

/// How well a classifier does without attack and at every epsilon, with what it said to every image.
///
/// Everything but the records is computed from the records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Robustness {
    /// The attack's name; `None` if there was none.
    pub attack: Option<String>,
    /// The norm of the budget.
    pub norm: Option<Norm>,
    /// Names of the classes; the last one is the positive one.
    pub classes: Vec<String>,
    /// Whether the images were drawn, not photographed.
    pub synthetic: bool,
    /// Without attack.
    pub clean: Metrics,
    /// Images with a logit that is NaN or infinite, without attack.
    pub non_finite_logits: usize,
    /// Attacked images whose gradient is zero everywhere: a sign of masked gradients.
    pub zero_gradients: usize,
    /// Attacked images whose gradient is NaN or infinite somewhere.
    pub non_finite_gradients: usize,
    /// Under attack, by rising epsilon.
    pub sweep: Vec<UnderAttack>,
    /// Every image, in the data set's order.
    pub records: Vec<ImageRecord>,
}

/// How a classifier does at one epsilon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnderAttack {
    /// The budget; in JSON in grey levels, as `epsilon_pixels`.
    #[serde(rename = "epsilon_pixels", with = "grey_levels")]
    pub epsilon: Epsilon,
    /// Over all images: those that were wrong before the attack count as they were.
    pub metrics: Metrics,
    /// Attacked images that are wrong afterwards. Only images that were right before are attacked.
    pub success: Proportion,
    /// The same for each true class alone.
    pub class_success: Vec<Proportion>,
    /// Size and visibility of the perturbations.
    pub perturbation: Perturbation,
    /// Adversarial images with a logit that is NaN or infinite.
    pub non_finite_logits: usize,
    /// Results that left the budget and were projected back.
    pub over_budget: usize,
    /// Results that left \[0,1\] and were clipped.
    pub out_of_range: usize,
    /// Results with NaN or infinite pixels, which were replaced.
    pub not_finite: usize,
}

impl Robustness {
    /// Summarises records; `epsilons` are those of every record's attacks, in order.
    pub(crate) fn from_records(
        attack: Option<(String, Norm)>,
        classes: Vec<String>,
        synthetic: bool,
        epsilons: &[Epsilon],
        records: Vec<ImageRecord>,
    ) -> Self {
        let sweep = epsilons
            .iter()
            .enumerate()
            .map(|(at, &epsilon)| {
                let images: Vec<Attacked<'_>> = records
                    .iter()
                    .map(|r| Attacked { label: r.label, group: &r.group, record: &r.attacks[at] })
                    .collect();
                UnderAttack::over(&classes, epsilon, &images)
            })
            .collect();
        let gradients = |state| records.iter().filter(|r| r.gradient == state).count();
        let judged: Vec<Judged> =
            records.iter().map(|r| Judged { label: r.label, group: &r.group, outcome: r.clean }).collect();
        Self {
            clean: Metrics::new(&classes, &judged),
            non_finite_logits: records.iter().filter(|r| !r.clean.finite).count(),
            zero_gradients: gradients(GradientState::Zero),
            non_finite_gradients: gradients(GradientState::NotFinite),
            attack: attack.as_ref().map(|(name, _)| name.clone()),
            norm: attack.map(|(_, norm)| norm),
            classes,
            synthetic,
            sweep,
            records,
        }
    }

    /// The entry of the sweep with this budget, to a millionth of a grey level.
    pub fn at(&self, epsilon: Epsilon) -> Option<&UnderAttack> {
        self.sweep.iter().find(|u| (u.epsilon.as_pixels() - epsilon.as_pixels()).abs() < 1e-6)
    }
}

/// One image and what became of it.
pub(crate) struct Attacked<'a> {
    pub(crate) label: usize,
    pub(crate) group: &'a str,
    pub(crate) record: &'a AttackRecord,
}

impl<'a> Attacked<'a> {
    pub(crate) fn judged(&self, outcome: Outcome) -> Judged<'a> {
        Judged { label: self.label, group: self.group, outcome }
    }
}

impl UnderAttack {
    /// Of these images, each with its true class, its slide and what became of it.
    pub(crate) fn over(classes: &[String], epsilon: Epsilon, images: &[Attacked<'_>]) -> Self {
        let judged: Vec<Judged> = images.iter().map(|i| i.judged(i.record.outcome)).collect();
        let attacked: Vec<(&Attacked<'_>, &AttackRecord, Distances)> = images
            .iter()
            .filter_map(|i| i.record.distances.map(|distances| (i, i.record, distances)))
            .collect();
        let success = |class: Option<usize>| {
            let of = attacked.iter().filter(|(r, ..)| class.is_none_or(|c| r.label == c));
            let wrong = of.clone().filter(|(r, a, _)| !a.outcome.is(r.label)).count();
            Proportion::new(wrong, of.count())
        };
        let count = |flag: fn(&AttackRecord) -> bool| attacked.iter().filter(|(_, a, _)| flag(a)).count();
        let distances: Vec<Distances> = attacked.iter().map(|(.., distances)| *distances).collect();
        Self {
            epsilon,
            metrics: Metrics::new(classes, &judged),
            success: success(None),
            class_success: (0..classes.len()).map(|c| success(Some(c))).collect(),
            perturbation: Perturbation::over(&distances),
            non_finite_logits: count(|a| !a.outcome.finite),
            over_budget: count(|a| a.over_budget),
            out_of_range: count(|a| a.out_of_range),
            not_finite: count(|a| a.not_finite),
        }
    }
}

/// Joins runs of the same attack, classes and epsilons into one, such as three seeds whose test sets are too
/// small alone.
///
/// The intervals treat the images as independent: with the same image in several runs they are too narrow.
///
/// # Errors
///
/// [`EvaluationError::Empty`] without runs, [`EvaluationError::Pool`] if two of them differ in attack, norm,
/// classes or epsilons.
pub fn pooled(runs: &[Robustness]) -> Result<Robustness, EvaluationError> {
    let first = runs.first().ok_or(EvaluationError::Empty)?;
    let epsilons = |run: &Robustness| run.sweep.iter().map(|u| u.epsilon).collect::<Vec<_>>();
    for (position, run) in runs.iter().enumerate() {
        let differs = |what, expected: String, found: String| match expected == found {
            true => Ok(()),
            false => Err(EvaluationError::Pool { run: position, what, expected, found }),
        };
        differs("classes", format!("{:?}", first.classes), format!("{:?}", run.classes))?;
        let attack = |run: &Robustness| format!("{:?} in {:?}", run.attack, run.norm);
        differs("attack", attack(first), attack(run))?;
        differs("epsilons", format!("{:?}", epsilons(first)), format!("{:?}", epsilons(run)))?;
    }
    Ok(Robustness::from_records(
        first.attack.clone().zip(first.norm),
        first.classes.clone(),
        runs.iter().any(|r| r.synthetic),
        &epsilons(first),
        runs.iter().flat_map(|r| r.records.iter().cloned()).collect(),
    ))
}

/// The same budget with a number of grey levels of at most 12 significant digits, so that JSON gives back
/// exactly what was run.
pub(crate) fn readable(epsilon: Epsilon) -> Epsilon {
    Epsilon::pixels(round(epsilon.as_pixels()))
}

pub(super) mod grey_levels {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Epsilon, round};

    pub(in crate::evaluate) fn serialize<S: Serializer>(epsilon: &Epsilon, to: S) -> Result<S::Ok, S::Error> {
        round(epsilon.as_pixels()).serialize(to)
    }

    pub(in crate::evaluate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Epsilon, D::Error> {
        f64::deserialize(from).map(Epsilon::pixels)
    }
}
