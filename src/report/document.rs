//! What a report says, as data: headings, paragraphs, lists and tables, to be rendered as Markdown or HTML.

use std::fmt::Display;

use crate::evaluate::{Estimate, EvaluationResult, Interval, Metrics, Summary, UnderAttack, WorstCase};

/// A text in the making, block by block.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) blocks: Vec<Block>,
}

/// One piece of a text.
#[derive(Debug)]
pub(super) enum Block {
    /// 1 is the title.
    Heading(usize, String),
    Paragraph(String),
    Items(Vec<String>),
    Table(Table),
}

/// Rows of as many cells as the head has.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) heading: String,
    /// How to read it; may be empty.
    pub(super) intro: String,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A text in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    /// Whether a reader is to see it first.
    pub(super) strong: bool,
}

impl Cell {
    pub(super) fn strong(text: impl Into<String>) -> Self {
        Self { text: text.into(), strong: true }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, strong: false }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_string().into()
    }
}

impl Document {
    pub(super) fn heading(&mut self, level: usize, text: impl Display) {
        self.blocks.push(Block::Heading(level, text.to_string()));
    }

    pub(super) fn paragraph(&mut self, text: impl Display) {
        self.blocks.push(Block::Paragraph(text.to_string()));
    }

    pub(super) fn items<T: Display>(&mut self, items: impl IntoIterator<Item = T>) {
        self.blocks.push(Block::Items(items.into_iter().map(|item| item.to_string()).collect()));
    }

    /// Rows of as many cells as the head has, under a heading and a word on how to read them; nothing without
    /// rows.
    pub(super) fn table<C: Into<Cell>>(
        &mut self,
        heading: impl Display,
        intro: &str,
        head: Vec<String>,
        rows: Vec<Vec<C>>,
    ) {
        if rows.is_empty() {
            return;
        }
        assert!(rows.iter().all(|row| row.len() == head.len()), "a cell a column");
        let rows = rows.into_iter().map(|row| row.into_iter().map(C::into).collect()).collect();
        self.blocks.push(Block::Table(Table {
            heading: heading.to_string(),
            intro: intro.into(),
            head,
            rows,
        }));
    }
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
