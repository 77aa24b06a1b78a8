//! Gradients that lead nowhere.

use crate::evaluate::result::{About, Check, EvaluationResult};

const ABOUT: About = About {
    name: "vanishing gradients",
    matters: "An attack that follows gradients cannot move where they are zero, NaN or infinite; its failure there \
              is no sign of robustness but of masked gradients. Attack with a margin loss and without gradients.",
    source: "AutoAttack, checks.py, check_zero_gradients; Athalye, Carlini & Wagner, ICML 2018",
};

/// Zero or non-finite gradients at images that were attacked.
pub(super) fn check(result: &EvaluationResult) -> Check {
    let (zero, bad) = (result.clean.zero_gradients, result.clean.non_finite_gradients);
    let attacked = result.clean.metrics.accuracy.hits;
    if attacked == 0 || result.attacks.is_empty() {
        return ABOUT.not_applicable("no image was attacked");
    }
    let seen = format!(
        "the cross-entropy's gradient is zero at {zero} and not finite at {bad} of {attacked} attacked images"
    );
    ABOUT.check(zero + bad > 0, seen)
}
