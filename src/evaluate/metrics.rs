//! Classification metrics from predictions and scores.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::interval::round;
use super::{Estimate, Outcome, Proportion};

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
        let mut groups: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for image in images {
            match image.outcome.prediction {
                Some(prediction) => confusion.counts[image.label][prediction] += 1,
                None => confusion.undecided[image.label] += 1,
            }
            let (correct, total) = groups.entry(image.group).or_default();
            *correct += usize::from(image.outcome.is(image.label));
            *total += 1;
        }
        let of_class = |c: usize| confusion.counts[c].iter().sum::<usize>() + confusion.undecided[c];
        let recall = |c: usize| Proportion::new(confusion.counts[c][c], of_class(c));
        let called = |c: usize| Proportion::new((0..n).map(|t| confusion.counts[t][c]).sum(), images.len());
        let recalls: Vec<Proportion> = (0..n).map(recall).collect();
        let patient_rate =
            groups.values().map(|&(correct, total)| correct as f64 / total as f64).sum::<f64>()
                / groups.len() as f64;
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

/// An image without a score counts as ranked wrong.
fn auroc_of(images: &[Judged<'_>]) -> Option<f64> {
    let scored: Vec<(bool, f64)> = images
        .iter()
        .map(|image| {
            let positive = image.label == 1;
            let worst = if positive { f64::NEG_INFINITY } else { f64::INFINITY };
            (positive, image.outcome.score.map_or(worst, f64::from))
        })
        .collect();
    auroc(&scored)
}

/// Area under the receiver operating characteristic of (is positive, score) pairs: the probability that a
/// positive image scores higher than a negative one, ties counting half (Hanley & McNeil, Radiology 143,
/// 1982). `None` unless there are both positive and negative images, or if a score is NaN.
///
/// ```
/// use histoguard::evaluate::auroc;
///
/// assert_eq!(auroc(&[(false, 0.1), (true, 0.4), (false, 0.4), (true, 0.9)]), Some(0.875));
/// ```
pub fn auroc(scored: &[(bool, f64)]) -> Option<f64> {
    let positives = scored.iter().filter(|(positive, _)| *positive).count();
    let negatives = scored.len() - positives;
    if positives == 0 || negatives == 0 || scored.iter().any(|(_, score)| score.is_nan()) {
        return None;
    }
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (mut wins, mut below) = (0.0, 0usize);
    for tied in sorted.chunk_by(|a, b| a.1 == b.1) {
        let up = tied.iter().filter(|(positive, _)| *positive).count();
        let down = tied.len() - up;
        wins += up as f64 * (below as f64 + down as f64 / 2.0);
        below += down;
    }
    Some(round(wins / (positives as f64 * negatives as f64)))
}
