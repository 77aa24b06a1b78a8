//! What an attack saw on its way to the images that it did not break.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::tightest::Standing;
use crate::evaluate::EvaluationError;
use crate::evaluate::result::{About, Check, EvaluationResult, Outcome};
use crate::evaluate::run::{Engine, Targets, classify};
use crate::pixels::{Budget, Epsilon, Norm, change, round};
use crate::rows::values;

const SILENT: About = About {
    name: "silent success",
    matters: "An adversarial image on the attack's path is a success, whatever the attack returns in the end: it \
              should keep the best point and not the last one. Of a classifier with random answers it may have been \
              one lucky draw.",
    source: "Pintor et al., Indicators of attack failure, NeurIPS 2022, section 3, silent success",
};

const INCOMPLETE: About = About {
    name: "incomplete optimization",
    matters: "An attack whose best point still gets better when it stops has not converged: more steps, or longer \
              ones, would go further.",
    source: "Pintor et al., Indicators of attack failure, NeurIPS 2022, section 3, incomplete optimization, with the \
             margin for the loss and queries for steps",
};

/// Queries at the end of a path over which its best point should stay.
const LAST: usize = 10;
/// How far it may still move, of the whole way from the worst point to the best.
const MOVED: f64 = 0.05;
/// One image that is about to fall is no sign of an attack that stops too early.
const CHANCE: usize = 1;

/// The queries about one image, within the budget around it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Seen {
    /// Whether one was adversarial, and what the attack returned was not.
    silent: bool,
    /// How far the best point moved at the end; `None` if there were no more queries than that.
    moved: Option<f64>,
}

/// What was seen of one attack.
pub(super) struct Path {
    attack: String,
    seen: Vec<Seen>,
}

/// The white boxes of several steps run once more on the check images that they left, with every query recorded.
pub(super) fn recorded(
    engine: &mut Engine<'_, '_>,
    result: &EvaluationResult,
    attacked: &[usize],
) -> Result<Vec<Path>, EvaluationError> {
    let recorded = Standing::of_iterative(result, attacked).into_iter().map(|standing| {
        let seen = engine.noted(
            &format!("recorded {}", standing.attack),
            &standing.positions,
            |engine, targets| follow(engine, &standing, targets),
        )?;
        Ok(Path { attack: standing.name(), seen })
    });
    recorded.collect()
}

/// Adversarial points on paths of attacks that returned none.
pub(super) fn silent(paths: &[Path]) -> Check {
    judged(&SILENT, paths, 0, "had an adversarial point on its path and returned none", |seen| {
        Some(seen.silent)
    })
}

/// Paths that end before they have converged.
pub(super) fn incomplete(paths: &[Path]) -> Check {
    let what = "whose best margin moved by over 5 % of its range in the last 10 of its queries";
    judged(&INCOMPLETE, paths, CHANCE, what, |seen| seen.moved.map(|moved| moved > MOVED))
}

/// Suspicious if an attack has more such images than these.
fn judged(about: &About, paths: &[Path], most: usize, what: &str, is: fn(&Seen) -> Option<bool>) -> Check {
    let mut seen = Vec::new();
    let mut suspicious = false;
    for path in paths {
        let known: Vec<bool> = path.seen.iter().filter_map(is).collect();
        let found = known.iter().filter(|found| **found).count();
        suspicious |= found > most;
        if !known.is_empty() {
            seen.push(format!("{}: {found} of {} images that it left {what}", path.attack, known.len()));
        }
    }
    match (paths.is_empty(), seen.is_empty()) {
        (true, _) => about.not_applicable(
            "it needs check images that are right and a white-box attack of several steps within a budget",
        ),
        (_, true) => about.not_applicable("no such attack left a check image after enough queries to tell"),
        _ => about.check(suspicious, seen.join("; ")),
    }
}

/// The attack on these images, together where no query can be about two of them.
fn follow(
    engine: &Engine<'_, '_>,
    standing: &Standing<'_>,
    targets: &Targets,
) -> Result<Vec<Seen>, EvaluationError> {
    let images: Vec<&[f32]> = targets.rows().collect();
    let twice = standing.budget.with_epsilon(Epsilon::unit(2.1 * standing.budget.size()));
    let alone = images.iter().enumerate().all(|(i, a)| images[..i].iter().all(|b| !within(twice, a, b)));
    if alone {
        return follow_together(engine, standing, targets);
    }
    let one = |row| Ok(follow_together(engine, standing, &targets.only(row))?.remove(0));
    (0..images.len()).map(one).collect()
}

fn follow_together(
    engine: &Engine<'_, '_>,
    standing: &Standing<'_>,
    targets: &Targets,
) -> Result<Vec<Seen>, EvaluationError> {
    let Standing { result, budget, .. } = standing;
    let attack = engine.plan.attacks[standing.attack].attack.at(*budget);
    let tracks = Arc::new(Mutex::new(Tracks::new(targets, *budget)));
    let listener = Arc::clone(&tracks);
    let note = move |images: &Tensor<4>, logits: &Tensor<2>| {
        listener.lock().unwrap_or_else(PoisonError::into_inner).note(images, logits);
    };
    let attacked = engine
        .victim
        .watch()
        .listening(note, || attack.perturb(engine.victim, targets.images.clone(), &targets.goal));
    let attacked = attacked.map_err(|error| engine.passes.ended(&result.label, error))?;
    let returned = classify(engine.victim, targets.crafted(attacked, Some(*budget))?.images)?;
    let tracks = tracks.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = tracks.0.iter().zip(returned);
    let seen = seen.map(|(track, returned)| Seen {
        silent: track.adversarial && returned.is(track.label),
        moved: track.moved(),
    });
    Ok(seen.collect())
}

/// The paths of images that share no query.
struct Tracks(Vec<Track>);

struct Track {
    image: Vec<f32>,
    label: usize,
    budget: Budget,
    adversarial: bool,
    margins: Vec<f32>,
}

impl Tracks {
    fn new(targets: &Targets, budget: Budget) -> Self {
        let track = |(image, &label): (&[f32], &i64)| Track {
            image: image.to_vec(),
            label: label as usize,
            budget,
            adversarial: false,
            margins: Vec::new(),
        };
        Self(targets.rows().zip(targets.goal.classes()).map(track).collect())
    }

    /// Each query counts for the image around which it lies, if any.
    fn note(&mut self, images: &Tensor<4>, logits: &Tensor<2>) {
        let ([count, ..], [_, classes]) = (images.dims(), logits.dims());
        let (images, logits) = (values(images.clone()), values(logits.clone()));
        for (image, logits) in images.chunks(images.len() / count).zip(logits.chunks(classes)) {
            let around = |track: &&mut Track| within(track.budget, &track.image, image);
            if let Some(track) = self.0.iter_mut().find(around) {
                track.note(logits);
            }
        }
    }
}

impl Track {
    fn note(&mut self, logits: &[f32]) {
        let others = (0..logits.len()).filter(|&class| class != self.label);
        let margin = others.map(|class| logits[class] - logits[self.label]).fold(f32::NEG_INFINITY, f32::max);
        self.adversarial |= !Outcome::from_logits(logits).is(self.label);
        self.margins.extend(Some(margin).filter(|margin| margin.is_finite()));
    }

    fn moved(&self) -> Option<f64> {
        let before = self.margins.len().checked_sub(LAST).filter(|&before| before > 0)?;
        let best = |margins: &[f32]| margins.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let least = self.margins.iter().copied().fold(f32::INFINITY, f32::min);
        let (first, all) = (f64::from(best(&self.margins[..before])), f64::from(best(&self.margins)));
        // Nothing moves on a plain.
        Some(round((all - first) / (all - f64::from(least)).max(f64::MIN_POSITIVE)))
    }
}

/// Whether one image lies within the budget around another, and in \[0,1\].
fn within(budget: Budget, original: &[f32], image: &[f32]) -> bool {
    let near = match budget.norm() {
        // Ends at the first value that is too far.
        Norm::Linf => original.iter().zip(image).all(|(a, b)| budget.holds(f64::from((a - b).abs()))),
        norm => budget.holds(norm.measure_values(&change(original, image))),
    };
    near && image.iter().all(|pixel| (-1e-6..=1.0 + 1e-6).contains(pixel))
}
