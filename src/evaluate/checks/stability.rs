//! Predictions that noise changes.

use burn::tensor::Tensor;

use super::access::is_iterative;
use super::tightest::tightest;
use crate::evaluate::EvaluationError;
use crate::evaluate::result::{About, Check, EvaluationResult};
use crate::evaluate::run::{Engine, Targets};
use crate::pixels::{Budget, Norm, changed, round, uniform_in_ball};
use crate::random::{Purpose, generator};
use crate::rows::{each, values};

const ABOUT: About = About {
    name: "unstable predictions",
    matters: "If noise too small to matter already moves the loss, its gradient says little about the next point: \
              steps go astray. Attack a smoothed or averaged classifier, or one without gradients.",
    source: "Pintor et al., Indicators of attack failure, NeurIPS 2022, section 3, unstable predictions, with the \
             margin for the loss: a confident network's cross-entropy changes manyfold",
};

const NOISE: Purpose = Purpose::named("unstable predictions");
const DRAWS: u64 = 100;
/// The mean relative change from which predictions count as unstable.
const UNSTABLE: f64 = 0.1;

/// How far the margin moves in the ball of half the budget, in every norm in which steps follow gradients.
pub(super) fn check(
    engine: &mut Engine<'_, '_>,
    result: &EvaluationResult,
    attacked: &[usize],
) -> Result<Check, EvaluationError> {
    let mut seen = Vec::new();
    let mut suspicious = false;
    let followed = |norm| {
        result.attacks.iter().any(|attack| attack.profile.norm() == Some(norm) && is_iterative(attack))
    };
    let worst_cases =
        result.worst_cases.iter().filter(|worst| worst.norm != Norm::L0 && followed(worst.norm));
    for worst in worst_cases.filter(|_| !attacked.is_empty()) {
        let Some(at) = tightest(&worst.sweep, result.clean.metrics.accuracy.hits) else { continue };
        let budget = worst.sweep[at].budget;
        let run = format!("noise {budget}");
        let changes = engine.noted(&run, attacked, |engine, targets| changes(engine, budget, targets))?;
        let mean = changes.iter().sum::<f64>() / changes.len() as f64;
        suspicious |= mean > UNSTABLE;
        seen.push(format!(
            "noise of up to half of {} {} changes the margins of {} images by {:.1} % on average",
            budget.norm(),
            budget.shown(),
            changes.len(),
            100.0 * mean
        ));
    }
    if seen.is_empty() {
        return Ok(ABOUT.not_applicable(
            "it needs check images that are right and a white-box attack of several steps in Linf, L2 or L1",
        ));
    }
    Ok(ABOUT.check(suspicious, seen.join("; ")))
}

/// The mean relative change of each image's margin, at most 1, to 12 digits, as the journal gives them back.
fn changes(engine: &Engine<'_, '_>, budget: Budget, targets: &Targets) -> Result<Vec<f64>, EvaluationError> {
    let margins = |images| -> Vec<f32> { values(targets.goal.margin(engine.victim.logits(images))) };
    let before = margins(targets.images.clone());
    let mut sums = vec![0.0; before.len()];
    for draw in 0..DRAWS {
        engine.passes.go_on()?;
        let after = margins(noisy(targets, budget, draw));
        for ((sum, &before), after) in sums.iter_mut().zip(&before).zip(after) {
            let (before, change) = (f64::from(before.abs()), f64::from(after) - f64::from(before));
            *sum += if before == 0.0 { change.abs() } else { change.abs() / before };
        }
    }
    // Also of NaN.
    Ok(sums.into_iter().map(|sum| round((sum / DRAWS as f64).min(1.0))).collect())
}

/// The images with a draw of noise from the ball of half the budget.
fn noisy(targets: &Targets, budget: Budget, draw: u64) -> Tensor<4> {
    each(&targets.images, |row, image| {
        let mut change = vec![0f32; image.len()];
        let mut generator = generator(NOISE, 0, &[targets.goal.index(row), draw]);
        uniform_in_ball(budget.norm(), budget.size() / 2.0, &mut change, &mut generator);
        changed(image, change.into_iter().map(f64::from))
    })
}
