//! An evaluation that is interrupted and goes on from its journal.

use std::sync::atomic::{AtomicBool, Ordering};

use histoguard::data::TensorSet;
use histoguard::evaluate::EvaluationError;
use histoguard::prelude::*;

use super::case::{Case, Found, Part};
use super::compare::Tolerance;
use super::side::Side;

/// The records of an evaluation that is stopped halfway and gone on with; on one device they have to be those of one that
/// was not, bit for bit.
pub fn case() -> Case {
    Case::new("evaluation", Tolerance::Distance(0.05), |side| {
        let whole = evaluate(side).map_err(|error| error.to_string())?;
        let resumed = interrupted(side)?;
        match resumed.clone().without_timing() == whole.without_timing() {
            true => Ok(records(&resumed)),
            false => Err("gone on with after an interruption, it gave other records".to_string()),
        }
    })
}

fn evaluation(victim: &Frozen) -> Evaluation<'_> {
    let [near, far] = [2.0, 8.0].map(Budget::pixels);
    Evaluation::new(victim)
        .attack(Fgsm::new(near))
        .attack(Pgd::new(near).with_steps(3))
        .attack(DeepFool::new())
        .budgets([near, far, Budget::l2(0.5)])
        .check_images(0)
        .batch_size(2)
}

fn images(side: &Side) -> Result<TensorSet, String> {
    let classes = ["benign", "malignant"].map(str::to_string).to_vec();
    TensorSet::new(side.images.clone(), side.labels.clone(), classes).map_err(|error| error.to_string())
}

fn evaluate(side: &Side) -> Result<EvaluationResult, String> {
    evaluation(&side.victim).run(&images(side)?).map_err(|error| error.to_string())
}

fn interrupted(side: &Side) -> Result<EvaluationResult, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (images, stop) = (images(side)?, AtomicBool::new(false));
    let begun = evaluation(&side.victim)
        .resume_from(folder.path())
        .on_progress(|progress| stop.store(2 * progress.done > progress.total, Ordering::Relaxed))
        .cancel_with(&stop)
        .run(&images);
    match begun {
        Err(EvaluationError::Cancelled { .. }) => {}
        Err(error) => return Err(error.to_string()),
        Ok(_) => return Err("it ran to its end in spite of being stopped".to_string()),
    }
    evaluation(&side.victim).resume_from(folder.path()).run(&images).map_err(|error| error.to_string())
}

/// Probabilities and distances of the records, and all answers; a record that has none counts as one class more.
fn records(result: &EvaluationResult) -> Found {
    let (mut answers, mut probabilities, mut distances) = (Vec::new(), Vec::new(), Vec::new());
    let none = result.classes.len();
    for image in &result.records {
        answers.push(image.clean.prediction.unwrap_or(none));
        probabilities.push(image.clean.probability.unwrap_or(f32::NAN));
        for record in image.attacks.iter().flat_map(|attacked| attacked.searched.iter().chain(&attacked.at)) {
            answers.push(record.outcome.prediction.unwrap_or(none));
            probabilities.push(record.outcome.probability.unwrap_or(f32::NAN));
            distances.extend(record.distances.iter().map(|distances| distances.l2));
        }
    }
    let parts = vec![Part::new("probabilities", probabilities), Part::new("distances", distances)];
    Found { answers, ..Found::numbers(parts) }
}
