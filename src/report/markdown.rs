//! A report as Markdown.

use super::document::{Block, Cell, Document, Table};
use super::report::Report;
use super::sections::{READ_FIRST, SUMMARY};

impl Report {
    /// The report as Markdown: what speaks against believing it, right answers under every attack and the
    /// worst case, slides and flips, perturbations, costs, transfer, training, and every check.
    pub fn to_markdown(&self) -> String {
        self.markdown(&self.warnings(), |_| {})
    }

    /// With these warnings, and with more sections after the summary.
    pub(super) fn markdown(&self, warnings: &[String], more: impl FnOnce(&mut Document)) -> String {
        let mut doc = Document::default();
        doc.heading(1, &self.title);
        self.introduction(&mut doc);
        if !warnings.is_empty() {
            doc.heading(2, READ_FIRST);
            doc.items(warnings);
        }
        self.requirements(&mut doc);
        doc.heading(2, SUMMARY);
        doc.items(self.summary().lines());
        more(&mut doc);
        self.measurements(&mut doc);
        self.checks(&mut doc);
        format!("{}\n", doc.blocks.iter().map(written).collect::<String>().trim_end())
    }
}

/// A block with an empty line after it.
fn written(block: &Block) -> String {
    match block {
        Block::Heading(level, text) => format!("{} {}\n\n", "#".repeat(*level), line(text)),
        Block::Paragraph(text) => format!("{}\n\n", line(text)),
        Block::Items(items) => {
            let items: String = items.iter().map(|item| format!("- {}\n", line(item))).collect();
            format!("{items}\n")
        }
        Block::Table(table) => written_table(table),
    }
}

fn written_table(Table { heading, intro, head, rows }: &Table) -> String {
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let cell =
        |Cell { text, strong }: &Cell| if *strong { format!("**{}**", line(text)) } else { line(text) };
    let mut text = format!("## {}\n\n", line(heading));
    if !intro.is_empty() {
        text += &format!("{}\n\n", line(intro));
    }
    text += &row(head.iter().map(|text| line(text)).collect());
    text += &row(vec!["---".into(); head.len()]);
    rows.iter().for_each(|cells| text += &row(cells.iter().map(cell).collect()));
    text + "\n"
}

/// One line, without the characters that would break a table.
fn line(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('|', "\\|")
}
