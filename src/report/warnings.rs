//! What a reader must know before believing a report, in plain language.

use super::{ModelReport, PaperReport};
use crate::evaluate::Robustness;

/// From this share on, a classifier "calls nearly everything" one class...
const NEARLY_ALL: f64 = 0.85;
/// ... if the class itself is rarer by at least this.
const EXCESS: f64 = 0.15;
/// A 95 % interval wider than this makes a test set small.
const WIDE: f64 = 0.1;
/// A share of zero gradients above this suggests masked gradients.
const MASKED: f64 = 0.1;

impl PaperReport {
    /// What a reader must know before believing the numbers; empty if there is nothing.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.data.synthetic || self.original.robustness.synthetic || self.defence.robustness.synthetic {
            warnings.push(
                "The images are synthetic: drawn by a program, not photographed. The numbers show that the \
                 experiment runs; they say nothing about breast tissue."
                    .to_string(),
            );
        }
        let split = &self.data.split;
        match &split.leakage {
            Some(leak) if leak.shared_groups > 0 => warnings.push(format!(
                "{} of the {} slides in the test set have images in the training set too (split {}), and {} \
                 test images come from them: accuracy on a new patient's slide is likely lower.",
                leak.shared_groups, leak.test_groups, split.method, leak.test_images
            )),
            _ => {}
        }
        warnings.extend(small_test_set(&self.original, &self.defence));
        for model in [&self.original, &self.defence] {
            warnings.extend(one_sided(model));
            warnings.extend(guessing(model));
            warnings.extend(masked_gradients(model));
            warnings.extend(not_finite(model));
            warnings.extend(budget(model));
            warnings.extend(rising(model));
        }
        warnings.extend(hollow_lead(&self.original, &self.defence));
        warnings
    }
}

fn percent(value: f64) -> String {
    format!("{:.0} %", 100.0 * value)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn small_test_set(original: &ModelReport, defence: &ModelReport) -> Option<String> {
    let accuracies = [original, defence].map(|m| m.robustness.clean.accuracy);
    let width = accuracies.iter().filter_map(|a| a.interval).map(|i| i.high - i.low).fold(0.0, f64::max);
    let total = accuracies[0].total;
    (width > WIDE).then(|| {
        format!(
            "The test set is small: {total} images, so that one image is {:.1} points and the 95 % interval \
             of an accuracy is up to {:.0} points wide. Do not compare numbers whose intervals overlap; pool \
             several seeds.",
            100.0 / total as f64,
            100.0 * width
        )
    })
}

fn one_sided(model: &ModelReport) -> Option<String> {
    let clean = &model.robustness.clean;
    let class = clean.classes.iter().find(|class| {
        let share = class.accuracy.total as f64 / clean.accuracy.total.max(1) as f64;
        class.called.value.is_some_and(|called| called >= NEARLY_ALL && called - share >= EXCESS)
    })?;
    let share = class.accuracy.total as f64 / clean.accuracy.total as f64;
    Some(format!(
        "{} calls {} of the images {name}, while {} are: its {name}-only accuracy says nothing about \
         robustness. Read its balanced accuracy and the other class's column.",
        capital(&model.name),
        percent(class.called.value?),
        percent(share),
        name = class.name
    ))
}

fn guessing(model: &ModelReport) -> Option<String> {
    let clean = &model.robustness.clean;
    let chance = 1.0 / clean.classes.len() as f64;
    let balanced = clean.balanced_accuracy?;
    (balanced.interval.low <= chance).then(|| {
        format!(
            "{} may be guessing: its balanced accuracy without attack is {balanced}, which includes chance \
             ({}). A classifier that does not work cannot be robust.",
            capital(&model.name),
            percent(chance)
        )
    })
}

fn attacked(robustness: &Robustness) -> usize {
    robustness.clean.accuracy.hits
}

fn masked_gradients(model: &ModelReport) -> Option<String> {
    let (zero, of) = (model.robustness.zero_gradients, attacked(&model.robustness));
    (of > 0 && zero as f64 > MASKED * of as f64).then(|| {
        format!(
            "{}: the gradient is exactly zero at {zero} of {of} attacked images. A gradient attack cannot \
             move there; its failure is no sign of robustness.",
            capital(&model.name)
        )
    })
}

fn not_finite(model: &ModelReport) -> Option<String> {
    let robustness = &model.robustness;
    let logits =
        robustness.non_finite_logits + robustness.sweep.iter().map(|u| u.non_finite_logits).sum::<usize>();
    let gradients = robustness.non_finite_gradients;
    (logits + gradients > 0).then(|| {
        format!(
            "{}: NaN or infinite logits at {logits} image evaluations (NaN counts as wrong) and NaN or \
             infinite gradients at {gradients} images.",
            capital(&model.name)
        )
    })
}

fn budget(model: &ModelReport) -> Option<String> {
    let sum = |count: fn(&crate::evaluate::UnderAttack) -> usize| {
        model.robustness.sweep.iter().map(count).sum::<usize>()
    };
    let (over, outside, bad) = (sum(|u| u.over_budget), sum(|u| u.out_of_range), sum(|u| u.not_finite));
    (over + outside + bad > 0).then(|| {
        format!(
            "{}: the attack broke its contract: {over} results over the budget, {outside} outside [0,1], \
             {bad} with NaN or infinite pixels. All were corrected before they were judged.",
            capital(&model.name)
        )
    })
}

/// A stronger attack that does less harm (Carlini et al., "On evaluating adversarial robustness", 2019).
fn rising(model: &ModelReport) -> Option<String> {
    let sweep = &model.robustness.sweep;
    let (weak, strong) = sweep.iter().zip(sweep.iter().skip(1)).find(|(weak, strong)| {
        let interval = |u: &crate::evaluate::UnderAttack| u.metrics.accuracy.interval;
        matches!((interval(weak), interval(strong)), (Some(w), Some(s)) if s.low > w.high)
    })?;
    Some(format!(
        "{}: accuracy rises from {:.1} % at epsilon {} to {:.1} % at epsilon {}. A single step overshoots \
         there; the larger budget's number overstates robustness.",
        capital(&model.name),
        100.0 * weak.metrics.accuracy.value?,
        weak.epsilon,
        100.0 * strong.metrics.accuracy.value?,
        strong.epsilon
    ))
}

/// The paper's measure favours the defence while it is no better over both classes.
fn hollow_lead(original: &ModelReport, defence: &ModelReport) -> Option<String> {
    let epsilons: Vec<String> = defence
        .robustness
        .sweep
        .iter()
        .filter(|under| under.epsilon.value() > 0.0)
        .filter_map(|under| {
            let other = original.robustness.at(under.epsilon)?;
            let positive = |u: &crate::evaluate::UnderAttack| u.metrics.classes.last()?.accuracy.value;
            let balanced = |u: &crate::evaluate::UnderAttack| Some(u.metrics.balanced_accuracy?.value);
            let leads = positive(under)? > positive(other)? && balanced(under)? <= balanced(other)?;
            leads.then(|| under.epsilon.to_string())
        })
        .collect();
    let positive = &defence.robustness.classes.last()?;
    (!epsilons.is_empty()).then(|| {
        format!(
            "At epsilon {}, {} leads {} on the {positive} images alone but not in balanced accuracy: there, \
             the lead comes from calling more images {positive}.",
            epsilons.join(", "),
            defence.name,
            original.name
        )
    })
}
