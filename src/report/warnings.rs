//! What a reader must know before believing a report, in plain language.

use super::document::or_dash;
use super::report::{ModelReport, Report};
use crate::attack::Access;
use crate::evaluate::{AttackResult, CleanResult, SemanticResult, UnderAttack, Verdict};

/// From this share on, a classifier "calls nearly everything" one class...
const NEARLY_ALL: f64 = 0.85;
/// ... if the class itself is rarer by at least this.
const EXCESS: f64 = 0.15;
/// A 95 % interval wider than this makes a test set small.
const WIDE: f64 = 0.1;
const SYNTHETIC: &str = "The images are synthetic: drawn by a program, not photographed. The numbers show \
                         that the experiment runs; they say nothing about breast tissue.";

impl Report {
    /// What a reader must know before believing the numbers, with every check that found something; empty if
    /// there is nothing.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.models.iter().any(|model| model.result.synthetic) {
            warnings.push(SYNTHETIC.to_string());
        }
        warnings.extend(self.small_test_set());
        for model in &self.models {
            let found = [
                one_sided(model),
                guessing(model),
                not_finite(model),
                broken_contract(model),
                unknown_to_its_attacks(model),
            ];
            warnings.extend(found.into_iter().flatten().map(|said| capital(&model.name) + &said));
        }
        for ModelReport { name, history, result, .. } in &self.models {
            let overfitting = history.as_ref().and_then(|history| history.overfitting.as_ref());
            warnings.extend(overfitting.map(|seen| format!("{name}: {seen}; an earlier epoch was kept.")));
            let suspicious = result.checks.iter().filter(|check| check.verdict == Verdict::Suspicious);
            warnings.extend(suspicious.map(|check| format!("{name}, {}: {}.", check.name, check.seen)));
        }
        warnings
    }

    fn small_test_set(&self) -> Option<String> {
        let accuracies = self.models.iter().map(|model| model.result.clean.metrics.accuracy);
        let width = accuracies.clone().filter_map(|a| a.interval).map(|i| i.high - i.low).fold(0.0, f64::max);
        let total = accuracies.map(|a| a.total).next()?;
        (width > WIDE).then(|| {
            format!(
                "The test set is small: {total} images, so that one image is {:.1} points and the 95 % \
                 interval of an accuracy is up to {:.0} points wide. Do not compare numbers whose intervals \
                 overlap; pool several seeds.",
                100.0 / total as f64,
                100.0 * width
            )
        })
    }
}

fn percent(value: f64) -> String {
    format!("{:.0} %", 100.0 * value)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn one_sided(model: &ModelReport) -> Option<String> {
    let clean = &model.result.clean.metrics;
    let share = |of: usize| of as f64 / clean.accuracy.total.max(1) as f64;
    let class = clean.classes.iter().find(|class| {
        let excess = |called: f64| called >= NEARLY_ALL && called - share(class.accuracy.total) >= EXCESS;
        class.called.value.is_some_and(excess)
    })?;
    Some(format!(
        " calls {} of the images {name}, while {} are: its {name}-only accuracy says nothing about \
         robustness. Read its balanced accuracy and the other class's column.",
        percent(class.called.value?),
        percent(share(class.accuracy.total)),
        name = class.name
    ))
}

fn guessing(model: &ModelReport) -> Option<String> {
    let clean = &model.result.clean.metrics;
    let (balanced, chance) = (clean.balanced_accuracy?, 1.0 / clean.classes.len() as f64);
    (balanced.interval.low <= chance).then(|| {
        format!(
            " may be guessing: its balanced accuracy without attack is {balanced}, which includes chance \
             ({}). A classifier that does not work cannot be robust.",
            percent(chance)
        )
    })
}

/// Over all attacks and budgets.
fn sum(
    model: &ModelReport,
    count: fn(&UnderAttack) -> usize,
    semantic: fn(&SemanticResult) -> usize,
) -> usize {
    let under = model.result.attacks.iter().flat_map(|attack| &attack.sweep).map(count);
    under.chain(model.result.semantic.iter().map(semantic)).sum()
}

fn not_finite(model: &ModelReport) -> Option<String> {
    let CleanResult { non_finite_logits, non_finite_gradients: gradients, .. } = model.result.clean;
    let logits = non_finite_logits
        + sum(model, |under| under.non_finite_logits, |semantic| semantic.non_finite_logits);
    (logits + gradients > 0).then(|| {
        format!(
            ": NaN or infinite logits at {logits} image evaluations (NaN counts as wrong) and NaN or \
             infinite gradients at {gradients} images."
        )
    })
}

fn broken_contract(model: &ModelReport) -> Option<String> {
    let over = sum(model, |under| under.over_budget, |_| 0);
    let outside = sum(model, |under| under.out_of_range, |semantic| semantic.out_of_range);
    let bad = sum(model, |under| under.not_finite, |semantic| semantic.not_finite);
    (over + outside + bad > 0).then(|| {
        format!(
            ": the attack broke its contract: {over} results over the budget, {outside} outside [0,1], \
             {bad} with NaN or infinite pixels. All were corrected before they were judged."
        )
    })
}

/// Attacks of a norm that were all made for another network.
fn unknown_to_its_attacks(model: &ModelReport) -> Option<String> {
    let attacks = || model.result.attacks.iter();
    let alone = |made: &&AttackResult| {
        let mut same_norm = attacks().filter(|other| other.profile.norm() == made.profile.norm());
        made.profile.access == Access::Substitute
            && same_norm.all(|other| other.profile.access >= Access::Substitute)
    };
    attacks().find(alone).map(|made| {
        format!(
            ": in {} no attack knows it; {} was made for another network, so that its accuracy is no \
             robustness. Attack it with its own gradients.",
            or_dash(made.profile.norm()),
            made.label
        )
    })
}
