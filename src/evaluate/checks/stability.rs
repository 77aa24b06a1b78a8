//! Predictions that noise changes.

use super::tightest::tightest;
use crate::classifier::Frozen;
use crate::evaluate::EvaluationError;
use crate::evaluate::result::{About, Check, EvaluationResult};
use crate::evaluate::run::{Engine, Targets};
use crate::pixels::{Budget, Norm, changed, uniform_in_ball};
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

/// How far the margin moves in the ball of half the budget, in every norm.
pub(super) fn check(
    engine: &mut Engine<'_, '_>,
    result: &EvaluationResult,
    attacked: &[usize],
) -> Result<Check, EvaluationError> {
    let mut seen = Vec::new();
    let mut suspicious = false;
    for worst in result.worst_cases.iter().filter(|worst| worst.norm != Norm::L0 && !attacked.is_empty()) {
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
        return Ok(
            ABOUT.not_applicable("it needs check images that are right and a budget in Linf, L2 or L1")
        );
    }
    Ok(ABOUT.check(suspicious, seen.join("; ")))
}

/// The mean relative change of each image's margin, at most 1.
fn changes(engine: &Engine<'_, '_>, budget: Budget, targets: &Targets) -> Result<Vec<f64>, EvaluationError> {
    let before = margins(engine.victim, targets, None);
    let mut sums = vec![0.0; before.len()];
    for draw in 0..DRAWS {
        engine.passes.go_on()?;
        let after = margins(engine.victim, targets, Some((budget, draw)));
        let changes = before.iter().zip(after).map(|(before, after)| {
            let change = (after - before).abs();
            if *before == 0.0 { change } else { change / before.abs() }
        });
        sums.iter_mut().zip(changes).for_each(|(sum, change)| *sum += change / DRAWS as f64);
    }
    // Also of NaN.
    Ok(sums.into_iter().map(|mean| mean.min(1.0)).collect())
}

/// Of the images as they are, or with a draw of noise from the ball of half the budget.
fn margins(victim: &Frozen, targets: &Targets, noise: Option<(Budget, u64)>) -> Vec<f64> {
    let images = noise.map_or_else(
        || targets.images.clone(),
        |(budget, draw)| {
            each(&targets.images, |row, image| {
                let mut change = vec![0f32; image.len()];
                let mut generator = generator(NOISE, 0, &[targets.goal.index(row), draw]);
                uniform_in_ball(budget.norm(), budget.size() / 2.0, &mut change, &mut generator);
                changed(image, change.into_iter().map(f64::from))
            })
        },
    );
    values(targets.goal.margin(victim.logits(images))).into_iter().map(f64::from).collect()
}
