//! The blocks of a report as HTML. Every text is escaped by the template.

use maud::{Markup, html};

use crate::report::document::{Block, Cell, Document, Table};

/// Blocks in their order, tables under headings of this level.
pub(super) fn open(doc: &Document) -> Markup {
    html! {
        @for block in &doc.blocks {
            @match block {
                Block::Table(table) => { h3 { (table.heading) } (body(table)) }
                other => (plain(other)),
            }
        }
    }
}

/// Its tables alone, under the heading of the part that they make up.
pub(super) fn alone(doc: &Document) -> Markup {
    html! { @for block in &doc.blocks { @if let Block::Table(table) = block { (body(table)) } } }
}

/// Every table to be unfolded by its heading, with what follows it; the first of them is open.
pub(super) fn folded(doc: &Document, first_open: bool) -> Markup {
    let is_table = |block: &Block| matches!(block, Block::Table(_));
    let groups = doc.blocks.chunk_by(|_, next| !is_table(next));
    html! {
        @for (number, group) in groups.enumerate() {
            @if let [Block::Table(table), rest @ ..] = group {
                details open[first_open && number == 0] {
                    summary { h3 { (table.heading) } }
                    (body(table))
                    @for block in rest { (plain(block)) }
                }
            } @else {
                @for block in group { (plain(block)) }
            }
        }
    }
}

fn plain(block: &Block) -> Markup {
    html! {
        @match block {
            Block::Heading(_, text) => h3 { (text) },
            Block::Paragraph(text) => p { (text) },
            Block::Items(items) => ul { @for item in items { li { (item) } } },
            Block::Table(table) => (body(table)),
        }
    }
}

fn body(Table { heading, intro, head, rows }: &Table) -> Markup {
    html! {
        @if !intro.is_empty() { p { (intro) } }
        (scrolled(heading, html! {
            table.sortable {
                thead { tr { @for text in head { th scope="col" { (text) } } } }
                tbody { @for cells in rows { tr { @for (column, text) in cells.iter().enumerate() {
                    (cell(text, column == 0))
                } } } }
            }
        }))
    }
}

/// Texts that are longer wrap.
const LONG: usize = 48;

pub(super) fn cell(Cell { text, strong }: &Cell, head: bool) -> Markup {
    let shown = html! { @if *strong { strong { (text) } } @else { (text) } };
    html! { @if head { th scope="row" { (shown) } } @else { td.long[text.len() > LONG] { (shown) } } }
}

/// A table that is wider than the page scrolls by itself, by keyboard too.
pub(super) fn scrolled(label: &str, table: Markup) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label={ "Table: " (label) } { (table) } }
}
