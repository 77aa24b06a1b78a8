//! How a classifier does under one attack, or the worst case of several, with one budget.

use serde::{Deserialize, Serialize};

use super::metrics::{Judged, Metrics, by_group, share};
use super::outcome::{AttackRecord, ImageRecord, Outcome};
use super::perturbation::Perturbation;
use crate::pixels::{Budget, Distances};
use crate::statistics::{Bootstrap, Proportion, Resamples};

/// How a classifier does under one attack, or the worst case of several, with one budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnderAttack {
    /// How far the attack may go.
    pub budget: Budget,
    /// Over all images: those that were wrong before the attack count as they were.
    pub metrics: Metrics,
    /// Slide by slide, and after rounding.
    #[serde(flatten)]
    pub detail: Detail,
    /// Attacked images that are wrong afterwards. Only images that were right before are attacked.
    pub success: Proportion,
    /// The same for each true class alone.
    pub class_success: Vec<Proportion>,
    /// How often each class was turned into each other one.
    pub flips: Vec<Flip>,
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

/// How a classifier does under one attack, whatever bounds it.
pub(super) struct Attacked {
    pub(super) metrics: Metrics,
    pub(super) detail: Detail,
    pub(super) success: Proportion,
    pub(super) class_success: Vec<Proportion>,
    pub(super) flips: Vec<Flip>,
    pub(super) perturbation: Perturbation,
    pub(super) non_finite_logits: usize,
    pub(super) over_budget: usize,
    pub(super) out_of_range: usize,
    pub(super) not_finite: usize,
}

/// What belongs to every set of outcomes beside its [`Metrics`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// Intervals that resample slides.
    pub bootstrap: Bootstrap,
    /// The patient score of each slide, sorted by name; their mean is the patient rate of the metrics.
    pub slides: Vec<Slide>,
    /// The same images rounded to 8 bits, as a PNG holds them. Rounding moves a value by up to half a grey level and can
    /// undo an attack, or add to it.
    pub eight_bit: Metrics,
}

/// One slide or patient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slide {
    /// Its name.
    pub name: String,
    /// Its images that are right: BreakHis's patient score (Spanhol et al., "A dataset for breast cancer
    /// histopathological image classification", IEEE TBME 63, 2016, equation 1).
    pub score: Proportion,
}

/// Attacked images of one class that became another one, such as malignant ones that became benign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flip {
    /// The true class, which was recognised without attack.
    pub from: String,
    /// The class that the attack made of it.
    pub to: String,
    /// How many of the attacked images of the true class.
    pub images: Proportion,
}

/// Images of known classes, and how their outcomes are summarised.
pub(super) struct Summariser<'r> {
    pub(super) classes: &'r [String],
    pub(super) records: &'r [ImageRecord],
    pub(super) resamples: Resamples,
}

impl<'r> Summariser<'r> {
    /// Of the outcomes of every image, as they are and in 8 bits.
    pub(super) fn metrics(&self, outcomes: impl Fn(usize) -> (Outcome, Outcome)) -> (Metrics, Detail) {
        let judged = |outcome: fn((Outcome, Outcome)) -> Outcome| -> Vec<Judged<'_>> {
            let of = |(p, image): (usize, &'r ImageRecord)| Judged {
                label: image.label,
                group: &image.group,
                outcome: outcome(outcomes(p)),
            };
            self.records.iter().enumerate().map(of).collect()
        };
        let (judged, rounded) = (judged(|both| both.0), judged(|both| both.1));
        let slide = |(name, (right, total)): (&str, (usize, usize))| Slide {
            name: name.into(),
            score: Proportion::new(right, total),
        };
        let answers = judged.iter().map(|image| (image.group, image.label, image.outcome.is(image.label)));
        let detail = Detail {
            bootstrap: self.resamples.intervals(self.classes.len(), answers),
            slides: by_group(&judged).into_iter().map(slide).collect(),
            eight_bit: Metrics::new(self.classes, &rounded),
        };
        (Metrics::new(self.classes, &judged), detail)
    }

    /// Of what became of every image with one budget.
    pub(super) fn under(&self, budget: Budget, of: impl Fn(&ImageRecord) -> AttackRecord) -> UnderAttack {
        let Attacked {
            metrics,
            detail,
            success,
            class_success,
            flips,
            perturbation,
            non_finite_logits,
            over_budget,
            out_of_range,
            not_finite,
        } = self.attacked(of);
        UnderAttack {
            budget,
            metrics,
            detail,
            success,
            class_success,
            flips,
            perturbation,
            non_finite_logits,
            over_budget,
            out_of_range,
            not_finite,
        }
    }

    /// Of what became of every image under one attack.
    pub(super) fn attacked(&self, of: impl Fn(&ImageRecord) -> AttackRecord) -> Attacked {
        let records: Vec<AttackRecord> = self.records.iter().map(of).collect();
        let labels = self.records.iter().map(|image| image.label);
        let attacked: Vec<(usize, &AttackRecord)> =
            labels.zip(&records).filter(|(_, record)| record.distances.is_some()).collect();
        let distances: Vec<Distances> = records.iter().filter_map(|record| record.distances).collect();
        let count = |flag: fn(&AttackRecord) -> bool| attacked.iter().filter(|(_, a)| flag(a)).count();
        let of_class = |class: usize| attacked.iter().filter(move |(label, _)| *label == class);
        let fell = |(label, record): &(usize, &AttackRecord)| record.fell(*label);
        let classes = 0..self.classes.len();
        let flips = classes.clone().flat_map(|from| classes.clone().map(move |to| (from, to)));
        let flips = flips.filter(|(from, to)| from != to).map(|(from, to)| Flip {
            from: self.classes[from].clone(),
            to: self.classes[to].clone(),
            images: share(of_class(from).map(|(_, record)| record.outcome.is(to))),
        });
        let (metrics, detail) = self.metrics(|p| (records[p].outcome, records[p].eight_bit));
        Attacked {
            metrics,
            detail,
            success: share(attacked.iter().map(fell)),
            class_success: classes.clone().map(|class| share(of_class(class).map(fell))).collect(),
            flips: flips.collect(),
            perturbation: Perturbation::over(&distances),
            non_finite_logits: count(|a| !a.outcome.finite),
            over_budget: count(|a| a.violations.over_budget),
            out_of_range: count(|a| a.violations.out_of_range),
            not_finite: count(|a| a.violations.not_finite),
        }
    }
}
