//! One table of all defenses.

use histoguard::evaluate::Slide;
use histoguard::prelude::*;
use histoguard::report::ModelReport;

/// A defense beside the others.
pub struct Compared {
    pub model: ModelReport,
    /// Seconds of the training.
    pub training: f64,
}

/// Right answers of every defense without attack and in the worst case of all attacks, and what it costs, as Markdown.
pub fn table(compared: &[Compared], budgets: &[Budget]) -> String {
    let mut head = vec!["defense".to_string(), "no attack".to_string()];
    for budget in budgets {
        head.push(format!("worst case at {}", budget.shown()));
    }
    head.extend(["weakest slide".into(), "training".into(), "times the undefended".into()]);
    let reference = compared.first().map_or(f64::NAN, |first| first.training);
    let rows = compared.iter().map(|Compared { model, training }| {
        let result = &model.result;
        let worst = result.worst_case(Norm::Linf);
        let mut row = vec![model.name.clone(), result.clean.metrics.accuracy.to_string()];
        for &budget in budgets {
            let under = worst.and_then(|worst| worst.sweep.iter().find(|under| under.budget == budget));
            row.push(under.map_or("-".into(), |under| under.metrics.accuracy.to_string()));
        }
        let last = worst.and_then(|worst| worst.sweep.first());
        let slides = last.map_or(&result.clean.detail.slides, |under| &under.detail.slides);
        let share = |slide: &Slide| slide.score.value.unwrap_or(1.0);
        let weakest = slides.iter().min_by(|a, b| share(a).total_cmp(&share(b)));
        row.push(weakest.map_or("-".into(), |slide| format!("{}: {}", slide.name, slide.score)));
        row.push(format!("{training:.0} s"));
        row.push(format!("{:.1}", training / reference));
        row
    });
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let rule = line(vec!["---".to_string(); head.len()]);
    std::iter::once(line(head)).chain([rule]).chain(rows.map(line)).collect()
}
