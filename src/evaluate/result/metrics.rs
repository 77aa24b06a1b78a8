//! Classification metrics from predictions and scores.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use crate::pixels::round;
use crate::statistics::{Estimate, Proportion, auroc};

/// One judged image, as [`Metrics::new`] takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged<'a> {
    /// The true class.
    pub label: usize,
    /// The slide or patient.
    pub group: &'a str,
    /// What the classifier said.
    pub outcome: Outcome,
}

/// How often each class was called each class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// `counts[true class][predicted class]`.
    pub counts: Vec<Vec<usize>>,
    /// Images of each true class without a prediction, because a logit was NaN; they count as wrong.
    pub undecided: Vec<usize>,
}

/// How one class fared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// The class's name.
    pub name: String,
    /// Accuracy over the images of this class alone (its recall). For the malignant class, the measure of
    /// the paper's Table 3.
    pub accuracy: Proportion,
    /// Share of all images, whatever their class, that the classifier calls this class. A share far from
    /// the class's own share shows a classifier whose accuracy over this class alone says nothing.
    pub called: Proportion,
}

/// Classification metrics over a set of images. The last class is the positive one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Correct over all images (BreakHis calls it the image rate).
    pub accuracy: Proportion,
    /// Mean of the classes' accuracies, with Newcombe's interval; `None` if a class has no image.
    pub balanced_accuracy: Option<Estimate>,
    /// With two classes, the share of positive images called positive.
    pub sensitivity: Option<Proportion>,
    /// With two classes, the share of negative images called negative.
    pub specificity: Option<Proportion>,
    /// With two classes, the area under the receiver operating characteristic; `None` if a class has no image.
    pub auroc: Option<f64>,
    /// Counts of predictions.
    pub confusion: Confusion,
    /// Each class alone.
    pub classes: Vec<ClassMetrics>,
    /// Number of slides or patients.
    pub groups: usize,
    /// Mean over slides or patients of their share of correct images (BreakHis calls it the patient rate).
    pub patient_rate: Option<f64>,
}

impl Metrics {
    /// Counts, rates and intervals of these images.
    ///
    /// # Panics
    ///
    /// Panics if a label or prediction is not below `classes.len()`.
    pub fn new(classes: &[String], images: &[Judged<'_>]) -> Self {
        let n = classes.len();
        let mut confusion = Confusion { counts: vec![vec![0; n]; n], undecided: vec![0; n] };
        for image in images {
            match image.outcome.prediction {
                Some(prediction) => confusion.counts[image.label][prediction] += 1,
                None => confusion.undecided[image.label] += 1,
            }
        }
        let of_class = |c: usize| confusion.counts[c].iter().sum::<usize>() + confusion.undecided[c];
        let recall = |c: usize| Proportion::new(confusion.counts[c][c], of_class(c));
        let called = |c: usize| Proportion::new((0..n).map(|t| confusion.counts[t][c]).sum(), images.len());
        let recalls: Vec<Proportion> = (0..n).map(recall).collect();
        let groups = by_group(images);
        let scores = groups.values().map(|&(right, total)| right as f64 / total as f64);
        let patient_rate = scores.sum::<f64>() / groups.len() as f64;
        Self {
            accuracy: Proportion::new((0..n).map(|c| confusion.counts[c][c]).sum(), images.len()),
            balanced_accuracy: Proportion::mean(&recalls),
            sensitivity: (n == 2).then(|| recalls[1]),
            specificity: (n == 2).then(|| recalls[0]),
            auroc: if n == 2 { auroc_of(images) } else { None },
            classes: (0..n)
                .map(|c| ClassMetrics { name: classes[c].clone(), accuracy: recalls[c], called: called(c) })
                .collect(),
            groups: groups.len(),
            patient_rate: (!groups.is_empty()).then(|| round(patient_rate)),
            confusion,
        }
    }
}

/// Right images and all images of each slide or patient.
pub(super) fn by_group<'a>(images: &[Judged<'a>]) -> BTreeMap<&'a str, (usize, usize)> {
    let mut groups = BTreeMap::<&str, (usize, usize)>::new();
    for image in images {
        let (right, total) = groups.entry(image.group).or_default();
        *right += usize::from(image.outcome.is(image.label));
        *total += 1;
    }
    groups
}

/// How many of these are so.
pub(crate) fn share(images: impl Iterator<Item = bool>) -> Proportion {
    let images: Vec<bool> = images.collect();
    Proportion::new(images.iter().filter(|hit| **hit).count(), images.len())
}

/// An image without a score counts as ranked wrong.
fn auroc_of(images: &[Judged<'_>]) -> Option<f64> {
    let scored = images.iter().map(|image| {
        let positive = image.label == 1;
        let worst = if positive { f64::NEG_INFINITY } else { f64::INFINITY };
        (positive, image.outcome.score.map_or(worst, f64::from))
    });
    auroc(&scored.collect::<Vec<_>>())
}
