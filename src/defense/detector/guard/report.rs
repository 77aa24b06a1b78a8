//! How a guarded classifier fares.

use serde::Serialize;
use serde_json::Value;

use super::answer::Answer;
use crate::attack::Attack;
use crate::defense::detector::alarm::Alarm;
use crate::defense::detector::threshold::Threshold;
use crate::statistics::{Proportion, auroc, true_positive_rate};

/// What a [`Guard`](super::Guard) makes of test images, clean and under attacks; intervals are Wilson's over
/// images, too narrow where images of one slide are alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GuardReport {
    /// What the detectors' false-alarm rates, as asked for, add up to: the most that they promise together.
    pub joint_rate: f64,
    /// Of the clean images.
    pub clean: CleanRates,
    /// Of the clean images of each class: a rejected slide is work in a clinic, and it matters whose.
    pub classes: Vec<CleanRates>,
    /// Of each detector.
    pub detectors: Vec<DetectorRates>,
    /// Under each attack.
    pub attacks: Vec<Attacked>,
}

/// Clean images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CleanRates {
    /// The name of their class; `None` of all.
    pub class: Option<String>,
    /// Rejected.
    pub false_alarms: Proportion,
    /// Accepted and right: a rejected clean image is an error.
    pub accuracy: Proportion,
    /// Right without the detectors.
    pub bare_accuracy: Proportion,
}

/// One detector on clean images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DetectorRates {
    /// Its name.
    pub detector: String,
    /// Its settings.
    pub settings: Value,
    /// Its threshold, with the false-alarm rate asked for.
    pub threshold: Threshold,
    /// Clean images that it rejects.
    pub false_alarms: Proportion,
    /// The same of each class.
    pub classes: Vec<Proportion>,
}

/// Under one attack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attacked {
    /// Its name.
    pub attack: String,
    /// Its settings.
    pub settings: Value,
    /// Not lost: an attacked image is lost if it is accepted and wrong. Read it beside the clean accuracy:
    /// who rejects everything loses nothing here.
    pub robust_accuracy: Proportion,
    /// Accepted and right when clean, and not lost under the attack: the one figure that neither rejecting
    /// everything nor accepting everything raises.
    pub worst_case: Proportion,
    /// Right under the attack without the detectors.
    pub bare_accuracy: Proportion,
    /// The robust accuracy of each class.
    pub classes: Vec<Proportion>,
    /// Rejected, of the images that the attack turned from right to wrong for the bare classifier.
    pub detected: Proportion,
    /// How each detector tells those images from clean ones.
    pub detectors: Vec<Separation>,
}

/// How a detector's scores tell images that an attack turned from clean ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Separation {
    /// The detector's name.
    pub detector: String,
    /// Rejected at its threshold.
    pub detected: Proportion,
    /// Area under the ROC curve; `None` if no image was turned, or a score is NaN.
    pub auroc: Option<f64>,
    /// The share found by the threshold, on these very images, that rejects at most 1 % of the clean ones.
    pub found_at_1_percent: Option<f64>,
    /// The same at 5 %.
    pub found_at_5_percent: Option<f64>,
}

/// A test image with all that was said of it.
pub(super) struct Tested {
    pub(super) label: usize,
    pub(super) clean: Answer,
    /// Under each attack.
    pub(super) attacked: Vec<Answer>,
}

impl Tested {
    fn is_lost(&self, attack: usize) -> bool {
        self.attacked[attack].is_accepted() && !self.attacked[attack].is_accepted_as(self.label)
    }

    fn is_turned(&self, attack: usize) -> bool {
        self.clean.class == Some(self.label) && self.attacked[attack].class != Some(self.label)
    }
}

impl GuardReport {
    pub(super) fn new(
        alarms: &[Alarm],
        classes: &[String],
        attacks: &[&dyn Attack],
        tested: &[Tested],
    ) -> Self {
        let of = |class: usize| tested.iter().filter(move |image| image.label == class);
        let detector = |(index, alarm): (usize, &Alarm)| {
            let fires = move |image: &Tested| image.clean.alarms[index];
            DetectorRates {
                detector: alarm.detector.name(),
                settings: alarm.detector.settings(),
                threshold: alarm.threshold,
                false_alarms: share(tested.iter(), fires),
                classes: (0..classes.len()).map(|class| share(of(class), fires)).collect(),
            }
        };
        let clean = |class: (usize, &String)| CleanRates::new(Some(class.1.clone()), of(class.0));
        let under = |(index, attack): (usize, &&dyn Attack)| {
            let kept = |class: usize| share(of(class), |image| !image.is_lost(index));
            let classes = (0..classes.len()).map(kept).collect();
            Attacked::new(alarms, classes, (index, *attack), tested)
        };
        Self {
            joint_rate: alarms.iter().map(|alarm| alarm.threshold.rate).sum::<f64>().min(1.0),
            clean: CleanRates::new(None, tested.iter()),
            classes: classes.iter().enumerate().map(clean).collect(),
            detectors: alarms.iter().enumerate().map(detector).collect(),
            attacks: attacks.iter().enumerate().map(under).collect(),
        }
    }
}

impl CleanRates {
    fn new<'a>(class: Option<String>, images: impl Iterator<Item = &'a Tested> + Clone) -> Self {
        Self {
            class,
            false_alarms: share(images.clone(), |image| !image.clean.is_accepted()),
            accuracy: share(images.clone(), |image| image.clean.is_accepted_as(image.label)),
            bare_accuracy: share(images, |image| image.clean.class == Some(image.label)),
        }
    }
}

impl Attacked {
    fn new(
        alarms: &[Alarm],
        classes: Vec<Proportion>,
        (index, attack): (usize, &dyn Attack),
        tested: &[Tested],
    ) -> Self {
        let turned = tested.iter().filter(move |image| image.is_turned(index));
        let separation = |(number, alarm): (usize, &Alarm)| {
            let clean = tested.iter().map(|image| (false, image.clean.scores[number]));
            let scored: Vec<(bool, f64)> = clean
                .chain(turned.clone().map(|image| (true, image.attacked[index].scores[number])))
                .collect();
            Separation {
                detector: alarm.detector.name(),
                detected: share(turned.clone(), |image| image.attacked[index].alarms[number]),
                auroc: auroc(&scored),
                found_at_1_percent: true_positive_rate(&scored, 0.01),
                found_at_5_percent: true_positive_rate(&scored, 0.05),
            }
        };
        Self {
            attack: attack.profile().name,
            settings: attack.settings(),
            robust_accuracy: share(tested.iter(), |image| !image.is_lost(index)),
            worst_case: share(tested.iter(), |image| {
                image.clean.is_accepted_as(image.label) && !image.is_lost(index)
            }),
            bare_accuracy: share(tested.iter(), |image| image.attacked[index].class == Some(image.label)),
            classes,
            detected: share(turned.clone(), |image| !image.attacked[index].is_accepted()),
            detectors: alarms.iter().enumerate().map(separation).collect(),
        }
    }
}

fn share<'a>(images: impl Iterator<Item = &'a Tested>, counts: impl Fn(&Tested) -> bool) -> Proportion {
    let (mut hits, mut total) = (0, 0);
    for image in images {
        hits += usize::from(counts(image));
        total += 1;
    }
    Proportion::new(hits, total)
}
