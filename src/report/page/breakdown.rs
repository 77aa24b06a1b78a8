//! Right answers by attack, class and slide.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::prose::scrolled;
use crate::evaluate::{Detail, EvaluationResult, Metrics, Slide, UnderAttack};
use crate::pixels::{Budget, Norm};
use crate::report::document::attacked;
use crate::report::report::{ModelReport, Report};
use crate::report::sections::WORST;
use crate::statistics::Proportion;

/// Rates and slides under one attack, or without.
type Column<'r> = (String, &'r Metrics, &'r Detail);

/// What a table is about.
#[derive(Clone, Copy)]
enum Under {
    Nothing,
    Budget(Norm, Budget),
    /// The attacks that no norm bounds.
    Semantic,
}

/// A table of every model and budget, and of its semantic attacks, one of which is shown at a time.
pub(super) fn breakdown(report: &Report) -> Markup {
    let tables = report.models.iter().flat_map(|model| {
        let result = &model.result;
        let worst_cases = result.worst_cases.iter();
        let budgets = worst_cases.flat_map(|worst| {
            attacked(&worst.sweep).map(move |under| Under::Budget(worst.norm, under.budget))
        });
        let semantic = (!result.semantic.is_empty()).then_some(Under::Semantic);
        let clean = (result.worst_cases.is_empty() && semantic.is_none()).then_some(Under::Nothing);
        clean.into_iter().chain(budgets).chain(semantic).map(move |under| (model, under))
    });
    html! {
        div.choices data-first="Model" data-second="Epsilon" {
            @for (number, (model, under)) in tables.enumerate() {
                @let at = match under {
                    Under::Nothing => "no attack".into(),
                    Under::Budget(_, budget) => budget.to_string(),
                    Under::Semantic => "no norm".into(),
                };
                details data-first=(model.name) data-second=(at) open[number == 0] {
                    summary { h3 { (model.name) ", " (at) } }
                    (table(model, &at, &columns(&model.result, under)))
                }
            }
        }
    }
}

/// No attack, every attack of the norm, and the worst case; or every attack that no norm bounds.
fn columns(result: &EvaluationResult, under: Under) -> Vec<Column<'_>> {
    let mut columns = vec![("no attack".into(), &result.clean.metrics, &result.clean.detail)];
    let (norm, budget) = match under {
        Under::Nothing => return columns,
        Under::Budget(norm, budget) => (norm, budget),
        Under::Semantic => {
            let semantic = result.semantic.iter();
            columns.extend(semantic.map(|under| (under.label.clone(), &under.metrics, &under.detail)));
            return columns;
        }
    };
    let at = |sweep: &'_ [UnderAttack]| sweep.iter().position(|under| under.budget == budget);
    for attack in result.attacks.iter().filter(|attack| attack.profile.norm() == Some(norm)) {
        if let Some(place) = at(&attack.sweep) {
            let under = &attack.sweep[place];
            columns.push((attack.label.clone(), &under.metrics, &under.detail));
        }
    }
    if let Some(worst) = result.worst_case(norm).filter(|worst| worst.attacks.len() > 1)
        && let Some(place) = at(&worst.sweep)
    {
        columns.push((WORST.into(), &worst.sweep[place].metrics, &worst.sweep[place].detail));
    }
    columns
}

/// All images and each class, then the slides, those first that have the fewest right in the last column.
fn table(model: &ModelReport, at: &str, columns: &[Column<'_>]) -> Markup {
    let result = &model.result;
    let classes = classes_of_slides(result);
    let (_, _, last) = columns.last().expect("no attack is always there");
    let mut slides: Vec<usize> = (0..last.slides.len()).collect();
    let share = |slide: &usize| last.slides[*slide].score.value.unwrap_or(1.0);
    slides.sort_by(|a, b| {
        let images = |slide: &usize| last.slides[*slide].score.total;
        share(a).total_cmp(&share(b)).then(images(b).cmp(&images(a)))
    });
    let whole = |pick: &dyn Fn(&Metrics) -> Proportion| -> Vec<Proportion> {
        columns.iter().map(|(_, metrics, _)| pick(metrics)).collect()
    };
    html! {
        (scrolled(&format!("{}, {at}, by class and slide", model.name), html! {
            table.sortable {
                thead { tr {
                    @for head in ["images of", "class"] { th scope="col" { (head) } }
                    @for (number, (label, ..)) in columns.iter().enumerate() {
                        th scope="col" aria-sort=[(number + 1 == columns.len()).then_some("ascending")] { (label) }
                    }
                } }
                tbody {
                    (row("all slides", "all", &whole(&|metrics| metrics.accuracy)))
                    @for (class, name) in result.classes.iter().enumerate().rev() {
                        (row("all slides", name, &whole(&|metrics| metrics.classes[class].accuracy)))
                    }
                }
                tbody {
                    @for slide in slides {
                        @let Slide { name, .. } = &last.slides[slide];
                        @let scores: Vec<Proportion> =
                            columns.iter().map(|(_, _, detail)| detail.slides[slide].score).collect();
                        (row(name, classes.get(name.as_str()).map_or("", String::as_str), &scores))
                    }
                }
            }
        }))
    }
}

fn row(name: &str, class: &str, scores: &[Proportion]) -> Markup {
    let shown = |Proportion { hits, total, value, .. }: &Proportion| match value {
        Some(value) => format!("{:.0} % ({hits}/{total})", 100.0 * value),
        None => "no images".into(),
    };
    html! { tr { th scope="row" { (name) } td { (class) } @for score in scores { td { (shown(score)) } } } }
}

/// The classes of a slide's images, with commas.
fn classes_of_slides(result: &EvaluationResult) -> BTreeMap<&str, String> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for record in &result.records {
        let classes = found.entry(&record.group).or_default();
        let class = result.classes[record.label].as_str();
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    found.into_iter().map(|(slide, classes)| (slide, classes.join(", "))).collect()
}
