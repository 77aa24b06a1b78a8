//! Accuracy over epsilon: the worst case of every model, and every attack on each.

use maud::{Markup, html};

use super::chart::{Curve, chart};
use crate::evaluate::{EvaluationResult, UnderAttack};
use crate::pixels::Norm;
use crate::report::axis::swept;
use crate::report::report::{ModelReport, Report};
use crate::report::sections::WORST;

/// Bands of more curves cover each other.
const BANDS: usize = 2;

/// The curves of every norm.
pub(super) fn curves(report: &Report) -> Markup {
    html! {
        @for norm in report.norms() {
            div.charts {
                @if report.models.len() > 1 { (models(report, norm)) }
                @for (number, model) in report.models.iter().enumerate() { (attacks(report, number, model, norm)) }
            }
        }
    }
}

fn models(report: &Report, norm: Norm) -> Markup {
    let worst = |(series, ModelReport { name, result, .. }): (usize, &ModelReport)| {
        Some(curve(
            name,
            result,
            (norm, &result.worst_case(norm)?.sweep),
            (series, report.models.len() <= BANDS),
        ))
    };
    let curves: Vec<Curve> = report.models.iter().enumerate().filter_map(worst).collect();
    chart(&format!("models-{norm}"), &format!("Every model in the worst case, {norm}"), norm, &curves)
}

fn attacks(report: &Report, number: usize, model: &ModelReport, norm: Norm) -> Markup {
    let ModelReport { name, result, .. } = model;
    let labels = labels(report, norm);
    let several = result.worst_case(norm).filter(|worst| worst.attacks.len() > 1);
    let worst = several.map(|worst| curve(WORST, result, (norm, &worst.sweep), (0, true)));
    let of_norm = result.attacks.iter().filter(|attack| attack.profile.norm() == Some(norm));
    let alone = worst.is_none();
    let each = of_norm.map(|attack| {
        let place =
            labels.iter().position(|label| *label == attack.label).expect("collected from all models");
        curve(&attack.label, result, (norm, &attack.sweep), (place + 1, alone))
    });
    let curves: Vec<Curve> = worst.into_iter().chain(each).collect();
    let title = format!("{name}, {norm} ({} images)", result.clean.metrics.accuracy.total);
    html! { @if !curves.is_empty() { (chart(&format!("model-{number}-{norm}"), &title, norm, &curves)) } }
}

/// Every attack of this norm once, so that it has one color in all charts.
fn labels(report: &Report, norm: Norm) -> Vec<&str> {
    let mut labels: Vec<&str> = Vec::new();
    for attack in report.models.iter().flat_map(|model| &model.result.attacks) {
        if attack.profile.norm() == Some(norm) && !labels.contains(&attack.label.as_str()) {
            labels.push(&attack.label);
        }
    }
    labels
}

fn curve(
    label: &str,
    result: &EvaluationResult,
    (norm, sweep): (Norm, &[UnderAttack]),
    (series, lead): (usize, bool),
) -> Curve {
    let points = swept(norm, result, sweep).into_iter().map(|(budget, metrics)| (budget, metrics.accuracy));
    Curve { label: label.into(), points: points.collect(), series, lead }
}
