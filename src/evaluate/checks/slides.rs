//! Slides on both sides.

use std::collections::BTreeSet;

use crate::evaluate::result::{About, Check, EvaluationResult};

const ABOUT: About = About {
    name: "shared slides",
    matters: "Images of one slide are alike. A classifier that was trained on other images of a test slide may \
              recognise the slide instead of the tumour, and is worse on a new patient than it looks here.",
    source: "Spanhol et al., IEEE TBME 63, 2016, section III: folds share no patient",
};

/// Slides of the test images that `training` has, too.
pub(super) fn check(result: &EvaluationResult, training: Option<&BTreeSet<String>>) -> Check {
    let Some(training) = training else {
        return ABOUT.not_applicable("the slides of the training images were not given");
    };
    let slides: BTreeSet<&String> = result.records.iter().map(|record| &record.group).collect();
    let shared = slides.iter().filter(|slide| training.contains(**slide)).count();
    let images = result.records.iter().filter(|record| training.contains(&record.group)).count();
    let (of, total) = (slides.len(), result.records.len());
    let seen = format!(
        "{shared} of {of} test slides, with {images} of {total} test images, have training images too"
    );
    ABOUT.check(shared > 0, seen)
}
