//! Several runs as one.

use super::attack_result::{AttackResult, Cost, Ran};
use super::check::{Check, Verdict};
use super::evaluation_result::{EvaluationResult, Setting};
use super::semantic_result::SemanticResult;
use crate::evaluate::EvaluationError;

/// Joins runs of the same attacks, classes and budgets into one, such as three seeds whose test sets are too small
/// alone. A check of the whole is suspicious if it is in any run.
///
/// The intervals over images treat them as independent: with the same image in several runs they are too narrow.
///
/// # Errors
///
/// [`EvaluationError::Empty`] without runs, [`EvaluationError::Pool`] if two of them differ in classes, attacks, budgets
/// or in whether later attacks ran on survivors alone.
pub fn pooled(runs: &[EvaluationResult]) -> Result<EvaluationResult, EvaluationError> {
    let first = runs.first().ok_or(EvaluationError::Empty)?;
    for (position, run) in runs.iter().enumerate() {
        for ((what, expected), (_, found)) in common(first).into_iter().zip(common(run)) {
            if expected != found {
                return Err(EvaluationError::Pool { run: position, what, expected, found });
            }
        }
    }
    let ran = first.attacks.iter().enumerate().map(|(a, attack)| {
        let mut cost = Cost::default();
        for run in runs {
            let AttackResult { images, queries, .. } = run.attacks[a];
            let seconds = run.timing.attacks.get(a).map_or(0.0, |timing| timing.seconds);
            cost += Cost { queries, seconds, images };
        }
        Ran {
            label: attack.label.clone(),
            settings: attack.settings.clone(),
            profile: attack.profile.clone(),
            budgets: attack.budgets().collect(),
            cost,
        }
    });
    let semantic = first.semantic.iter().enumerate().map(|(a, attack)| {
        let mut cost = Cost::default();
        for run in runs {
            let SemanticResult { images, queries, .. } = run.semantic[a];
            let seconds = run.timing.attacks.get(run.attacks.len() + a).map_or(0.0, |timing| timing.seconds);
            cost += Cost { queries, seconds, images };
        }
        Ran {
            label: attack.label.clone(),
            settings: attack.settings.clone(),
            profile: attack.profile.clone(),
            budgets: Vec::new(),
            cost,
        }
    });
    let setting = Setting {
        classes: first.classes.clone(),
        synthetic: runs.iter().any(|run| run.synthetic),
        only_survivors: first.only_survivors,
        seed: first.seed,
        resamples: first.clean.detail.bootstrap.resamples,
    };
    let records = runs.iter().flat_map(|run| run.records.iter().cloned()).collect();
    let mut whole = EvaluationResult::of_records(setting, ran.chain(semantic).collect(), records);
    whole.checks = (0..first.checks.len()).map(|check| joined(runs, check)).collect();
    whole.timing.seconds = runs.iter().map(|run| run.timing.seconds).sum();
    Ok(whole)
}

/// What runs must have in common.
fn common(run: &EvaluationResult) -> [(&'static str, String); 4] {
    let semantic = run.semantic.iter().map(|attack| &attack.label);
    let labels: Vec<&String> = run.attacks.iter().map(|attack| &attack.label).chain(semantic).collect();
    let budgets = |attack: &AttackResult| attack.budgets().map(|b| b.to_string()).collect();
    let budgets: Vec<Vec<String>> = run.attacks.iter().map(budgets).collect();
    [
        ("classes", format!("{:?}", run.classes)),
        ("attacks", format!("{labels:?}")),
        ("budgets", format!("{budgets:?}")),
        ("treatment", format!("only survivors: {}", run.only_survivors)),
    ]
}

/// One check over all runs: the worst verdict, and what every run saw.
fn joined(runs: &[EvaluationResult], position: usize) -> Check {
    let found: Vec<&Check> = runs.iter().filter_map(|run| run.checks.get(position)).collect();
    let gravity = |check: &&&Check| match check.verdict {
        Verdict::Suspicious => 2,
        Verdict::Passed => 1,
        Verdict::NotApplicable => 0,
    };
    let worst = found.iter().max_by_key(gravity).expect("every run has its checks");
    let seen: Vec<String> =
        found.iter().enumerate().map(|(run, check)| format!("run {}: {}", run + 1, check.seen)).collect();
    Check { seen: seen.join("; "), ..(**worst).clone() }
}
