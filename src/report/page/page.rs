//! The page: what to read first, curves, tables and images.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::breakdown::breakdown;
use super::curves::curves;
use super::pictures::pictures;
use super::prose::{alone, cell, folded, open, scrolled};
use crate::evaluate::Verdict;
use crate::report::document::Document;
use crate::report::report::{ModelReport, Report};
use crate::report::sections::{READ_FIRST, SUMMARY, verdict};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// The page asks for nothing: a browser that finds something to fetch does not.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'";

/// A part of the page with the name that its link in the contents has.
struct Part {
    id: &'static str,
    heading: &'static str,
    body: Markup,
}

impl Report {
    /// The report as one HTML page, which needs no other file and no network: what speaks against believing
    /// it, the verdict of every check, curves, right answers by attack, class and slide, the models' exhibits
    /// with a slider between original and adversarial image, and every table of the Markdown.
    ///
    /// It holds with light and dark, by keyboard, on paper and, but for the slider and sorting, without
    /// JavaScript.
    pub fn to_html(&self) -> String {
        self.html(&self.warnings(), |_| {})
    }

    /// With these warnings, and with more tables after the curves.
    pub(in crate::report) fn html(&self, warnings: &[String], more: impl FnOnce(&mut Document)) -> String {
        let parts = self.parts(warnings, more);
        let synthetic = self.models.iter().any(|model| model.result.synthetic);
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    link rel="icon" href="data:,";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a.skip href="#content" { "Skip to the report" }
                    header {
                        h1 { (self.title) }
                        @if synthetic { p.stamp { "Synthetic images" } }
                        button.live type="button" id="theme" { "Dark" }
                        (open(&written(|doc| self.introduction(doc))))
                    }
                    nav aria-label="Contents" {
                        ul { @for Part { id, heading, .. } in &parts { li { a href={ "#" (id) } { (heading) } } } }
                    }
                    main id="content" {
                        @for Part { id, heading, body } in &parts {
                            section id=(id) aria-labelledby={ (id) "-heading" } {
                                h2 id={ (id) "-heading" } { (heading) }
                                (body)
                            }
                        }
                    }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        page.into_string()
    }

    fn parts(&self, warnings: &[String], more: impl FnOnce(&mut Document)) -> Vec<Part> {
        let part = |id, heading, body| Part { id, heading, body };
        let first = html! {
            @if warnings.is_empty() { p { "Nothing was found that speaks against these numbers." } }
            @else { ul.warnings { @for warning in warnings { li { (warning) } } } }
        };
        let mut parts = vec![part("first", READ_FIRST, first)];
        if !self.requirements.is_empty() {
            let body = alone(&written(|doc| self.requirements(doc)));
            parts.push(part("requirements", "Requirements", body));
        }
        if self.models.iter().any(|model| !model.result.checks.is_empty()) {
            parts.push(part("verdicts", "Verdicts of the checks", self.verdicts()));
        }
        let summary = written(|doc| doc.items(self.summary().lines()));
        let body = html! { (curves(self)) details { summary { h3 { (SUMMARY) } } (open(&summary)) } };
        parts.push(part("curves", "Right answers over epsilon", body));
        let more = written(more);
        if !more.blocks.is_empty() {
            parts.push(part("paper", "Beside the paper", open(&more)));
        }
        if !self.models.is_empty() {
            parts.push(part("breakdown", "By attack, class and slide", breakdown(self)));
        }
        parts.extend(pictures(self).map(|body| part("images", "Images", body)));
        let tables = written(|doc| self.measurements(doc));
        if !tables.blocks.is_empty() {
            parts.push(part("tables", "All tables", folded(&tables, true)));
        }
        let checks = written(|doc| self.checks(doc));
        if !checks.blocks.is_empty() {
            parts.push(part("checks", "What the checks saw", folded(&checks, false)));
        }
        parts
    }

    /// A row a check, a column a model.
    fn verdicts(&self) -> Markup {
        let mut names: Vec<&str> = Vec::new();
        for check in self.models.iter().flat_map(|model| &model.result.checks) {
            if !names.contains(&check.name.as_str()) {
                names.push(&check.name);
            }
        }
        let of = |model: &ModelReport, name: &str| {
            let found = model.result.checks.iter().find(|check| check.name == name);
            html! { @if let Some(check) = found {
                td class=(kind(check.verdict)) title=(check.seen) { (cell_text(check.verdict)) }
            } @else { td { "-" } } }
        };
        scrolled(
            "Verdicts of the checks",
            html! {
                table.verdicts {
                    thead { tr {
                        th scope="col" { "check" }
                        @for model in &self.models { th scope="col" { (model.name) } }
                    } }
                    tbody { @for name in names { tr {
                        (cell(&name.into(), true))
                        @for model in &self.models { (of(model, name)) }
                    } } }
                }
            },
        )
    }
}

fn written(write: impl FnOnce(&mut Document)) -> Document {
    let mut doc = Document::default();
    write(&mut doc);
    doc
}

fn kind(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Suspicious => "suspicious",
        Verdict::NotApplicable => "idle",
    }
}

/// With a sign, not by color alone.
fn cell_text(found: Verdict) -> String {
    let sign = match found {
        Verdict::Passed => "✓",
        Verdict::Suspicious => "⚠",
        Verdict::NotApplicable => "–",
    };
    format!("{sign} {}", verdict(found).text)
}
