//! Answers that are not the same twice, or not logits.

use crate::evaluate::result::{About, Check};
use crate::evaluate::run::Asked;

const RANDOM: About = About {
    name: "random answers",
    matters: "A classifier that draws random numbers has random gradients: attacks made for a fixed function see \
              noise and fail. Attack the average over many draws (expectation over transformation).",
    source: "AutoAttack, checks.py, check_randomized; Carlini et al. 2019, Properly ensemble over randomness",
};

const PROBABILITIES: About = About {
    name: "probabilities for logits",
    matters: "Attacks take logits. Where a classifier gives probabilities, the softmax is applied twice: the \
              cross-entropy flattens out, gradients vanish, and attacks look weaker than they are. Return the \
              scores before the softmax.",
    source: "AutoAttack, checks.py, check_range_output",
};

const MISSING: &str = "no image was looked at twice: it needs check images";

/// Whether the same images had the same logits twice.
pub(super) fn random(asked: Option<Asked>) -> Check {
    let Some(Asked { images, difference, .. }) = asked else { return RANDOM.not_applicable(MISSING) };
    let seen = format!("the logits of {images} images differ by up to {difference:.3e} when asked twice");
    RANDOM.check(difference > 0.0, seen)
}

/// Whether the logits are a distribution over the classes.
pub(super) fn probabilities(asked: Option<Asked>) -> Check {
    let Some(Asked { images, probabilities, .. }) = asked else {
        return PROBABILITIES.not_applicable(MISSING);
    };
    let (not, all) = if probabilities { ("", "all of ") } else { ("not ", "") };
    let seen = format!("the scores of {all}{images} images are {not}between 0 and 1 with sum 1");
    PROBABILITIES.check(probabilities, seen)
}
