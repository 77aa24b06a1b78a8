//! Markdown: headings, paragraphs and tables whose cells cannot break them.

use std::fmt::Display;

use crate::evaluate::{Estimate, EvaluationResult, Interval, Metrics, Summary, UnderAttack, WorstCase};

/// A Markdown text in the making: blocks with an empty line between them.
#[derive(Default)]
pub(super) struct Document(String);

impl Document {
    pub(super) fn heading(&mut self, level: usize, text: impl Display) {
        self.paragraph(format!("{} {text}", "#".repeat(level)));
    }

    pub(super) fn paragraph(&mut self, text: impl Display) {
        self.0 += &format!("{}\n\n", cell(&text.to_string()));
    }

    pub(super) fn items<T: Display>(&mut self, items: impl IntoIterator<Item = T>) {
        items.into_iter().for_each(|item| self.0 += &format!("- {}\n", cell(&item.to_string())));
        self.0 += "\n";
    }

    /// Rows of as many cells as the head has, under a heading and a word on how to read them; nothing without
    /// rows.
    pub(super) fn table(
        &mut self,
        heading: impl Display,
        intro: &str,
        head: Vec<String>,
        rows: Vec<Vec<String>>,
    ) {
        if rows.is_empty() {
            return;
        }
        self.heading(2, heading);
        if !intro.is_empty() {
            self.paragraph(intro);
        }
        let (columns, ruler) = (head.len(), vec!["---".into(); head.len()]);
        for cells in [head, ruler].into_iter().chain(rows) {
            assert_eq!(cells.len(), columns, "a cell a column");
            let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
            self.0 += &format!("| {} |\n", cells.join(" | "));
        }
        self.0 += "\n";
    }

    pub(super) fn into_text(self) -> String {
        format!("{}\n", self.0.trim_end())
    }
}

/// One line, without the characters that would break a table.
fn cell(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('|', "\\|")
}

/// Texts between bars: heads of columns in one line.
pub(super) fn columns(texts: &str) -> Vec<String> {
    texts.split(" | ").map(String::from).collect()
}

/// With every budget but zero.
pub(super) fn attacked(sweep: &[UnderAttack]) -> impl Iterator<Item = &UnderAttack> {
    sweep.iter().filter(|under| !under.budget.is_zero())
}

/// The only attack of a norm, or how many there are.
pub(super) fn named(result: &EvaluationResult, worst: &WorstCase) -> String {
    match worst.attacks.as_slice() {
        // With several norms, labels tell theirs.
        [one] if result.worst_cases.len() > 1 => one.clone(),
        [one] => format!("{one} {}", worst.norm),
        several => format!("the worst of {} {} attacks", several.len(), worst.norm),
    }
}

/// What there is, or a dash.
pub(super) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

pub(super) fn rate(value: Option<f64>) -> String {
    or_dash(value.map(|value| format!("{:.1} %", 100.0 * value)))
}

pub(super) fn auroc(metrics: &Metrics) -> String {
    or_dash(metrics.auroc.map(|auroc| format!("{auroc:.3}")))
}

/// The mean over slides, with the interval that resamples them if there is one.
pub(super) fn patient_rate(metrics: &Metrics, interval: Option<Interval>) -> String {
    let shown = |value| match interval {
        Some(interval) => Estimate { value, interval }.to_string(),
        None => rate(Some(value)),
    };
    or_dash(metrics.patient_rate.map(|value| format!("{} ({} slides)", shown(value), metrics.groups)))
}

/// Mean and median.
pub(super) fn both(summary: Summary, digits: usize) -> String {
    let both = summary.mean.zip(summary.median);
    or_dash(both.map(|(mean, median)| format!("{mean:.digits$} ({median:.digits$})")))
}
