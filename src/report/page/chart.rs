//! A line chart of accuracies as SVG, with its values as a table.

use std::fmt::Write;

use maud::{Markup, html};

use super::prose::scrolled;
use crate::pixels::{Budget, Norm};
use crate::report::axis::Axis;
use crate::report::document::or_dash;
use crate::report::series;
use crate::statistics::Proportion;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BELOW: f64 = 46.0;
/// Percent shown beyond 0 and 100, so that lines at the ends are not cut.
const BEYOND: f64 = 3.0;
/// Between the places of curves at one budget, and of all of them together: those that are the same do not
/// hide each other.
const APART: f64 = 3.0;
const APART_ALL: f64 = 18.0;
/// Room that a tick's label takes.
const LABEL: f64 = 32.0;
/// Colors of the page's style; a series beyond has another marker and dash.
const COLORS: usize = 6;

/// One line: accuracies by rising budget.
pub(super) struct Curve {
    pub(super) label: String,
    pub(super) points: Vec<(Budget, Proportion)>,
    pub(super) series: usize,
    /// Drawn thick, with its interval as a band.
    pub(super) lead: bool,
}

/// Curves in one norm under a title; `id` tells the chart from the page's others.
pub(super) fn chart(id: &str, title: &str, norm: Norm, curves: &[Curve]) -> Markup {
    let axis = Axis::new(norm, curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.0)));
    let scale = Scale { range: axis.range(), axis: &axis };
    let ticks = axis.ticks();
    let places: Vec<String> = ticks.iter().map(|(x, _)| format!("{:.1}", scale.x(*x))).collect();
    let (title_id, table_id) = (format!("{id}-title"), format!("{id}-values"));
    html! {
        figure.chart {
            figcaption id=(title_id) { (title) }
            div.plot data-places=(places.join(" ")) data-values=(table_id) tabindex="0" role="group"
                aria-labelledby=(title_id) aria-describedby=(table_id) {
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby=(title_id) {
                    (grid(&scale, &ticks, &axis.label()))
                    @for curve in curves.iter().filter(|curve| curve.lead) { (band(&scale, curve)) }
                    @for curve in curves { (line(&scale, curve, curves)) }
                }
            }
            ul.legend aria-hidden="true" { @for curve in curves { li { (swatch(curve)) (curve.label) } } }
            details { summary { "Values" } (values(&table_id, title, curves, axis.budgets())) }
        }
    }
}

/// Where values are in the drawing.
struct Scale<'a> {
    axis: &'a Axis,
    range: (f64, f64),
}

impl Scale<'_> {
    fn x(&self, position: f64) -> f64 {
        LEFT + (position - self.range.0) / (self.range.1 - self.range.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(percent: f64) -> f64 {
        TOP + (100.0 + BEYOND - percent) / (100.0 + 2.0 * BEYOND) * (HEIGHT - TOP - BELOW)
    }

    fn at(&self, budget: Budget, share: f64) -> (f64, f64) {
        (self.x(self.axis.position(budget.level())), Self::y(100.0 * share))
    }
}

fn grid(scale: &Scale<'_>, ticks: &[(f64, String)], label: &str) -> Markup {
    let (bottom, right) = (HEIGHT - BELOW, WIDTH - RIGHT);
    let mut labeled: Vec<(f64, &str)> = Vec::new();
    for (position, text) in ticks {
        let x = scale.x(*position);
        if labeled.last().is_none_or(|(before, _)| x - before >= LABEL) {
            labeled.push((x, text));
        }
    }
    html! {
        g.grid {
            @for level in (0..=5).map(|i| f64::from(20 * i)) {
                @let y = Scale::y(level);
                line x1=(LEFT) x2=(right) y1=(short(y)) y2=(short(y)) {}
                text x=(LEFT - 8.0) y=(short(y + 5.0)) text-anchor="end" { (level) }
            }
            @for (x, text) in labeled {
                line x1=(short(x)) x2=(short(x)) y1=(TOP) y2=(bottom) {}
                text x=(short(x)) y=(bottom + 16.0) text-anchor="middle" { (text) }
            }
            text x=((LEFT + right) / 2.0) y=(HEIGHT - 8.0) text-anchor="middle" { (label) }
            text.side x="0" y="0" text-anchor="middle"
                transform=(format!("translate(14 {}) rotate(-90)", (TOP + bottom) / 2.0)) { "accuracy (%)" }
        }
    }
}

fn band(scale: &Scale<'_>, curve: &Curve) -> Markup {
    let intervals = || curve.points.iter().filter_map(|(budget, share)| Some((*budget, share.interval?)));
    let lower = intervals().map(|(budget, interval)| scale.at(budget, interval.low));
    let upper = intervals().map(|(budget, interval)| scale.at(budget, interval.high));
    let upper: Vec<(f64, f64)> = upper.collect();
    html! { polygon.band.(color(curve)) points=(path(lower.chain(upper.into_iter().rev()))) {} }
}

fn line(scale: &Scale<'_>, curve: &Curve, all: &[Curve]) -> Markup {
    let place = all.iter().position(|other| other.series == curve.series).unwrap_or(0) as f64;
    let apart = APART.min(APART_ALL / all.len() as f64) * (place - (all.len() as f64 - 1.0) / 2.0);
    let apart = if curve.lead { 0.0 } else { apart };
    let known = curve.points.iter().filter_map(|(budget, share)| Some((*budget, share, share.value?)));
    let points: Vec<(Budget, &Proportion, (f64, f64))> = known
        .map(|(budget, share, value)| {
            let (x, y) = scale.at(budget, value);
            (budget, share, (x + apart, y))
        })
        .collect();
    html! {
        g.curve.(color(curve)).lead[curve.lead] {
            polyline points=(path(points.iter().map(|point| point.2))) stroke-dasharray=[dash(curve)] {}
            @for (budget, share, at) in &points {
                path d=(marker(curve.series, *at)) {
                    title { (curve.label) ", epsilon " (budget.shown()) ": " (share) }
                }
            }
        }
    }
}

fn swatch(curve: &Curve) -> Markup {
    html! {
        svg.swatch.(color(curve)) viewBox="0 0 34 14" aria-hidden="true" {
            g.curve.(color(curve)).lead[curve.lead] {
                polyline points="1,7 33,7" stroke-dasharray=[dash(curve)] {}
                path d=(marker(curve.series, (17.0, 7.0))) {}
            }
        }
    }
}

/// The same as a table: for screen readers, for printing, and for what is shown beside the pointer.
fn values(id: &str, title: &str, curves: &[Curve], budgets: &[Budget]) -> Markup {
    let at = |curve: &Curve, budget: &Budget| {
        or_dash(curve.points.iter().find(|point| point.0 == *budget).map(|point| point.1))
    };
    scrolled(
        title,
        html! {
            table.values id=(id) {
                thead { tr {
                    th scope="col" { "epsilon" }
                    @for budget in budgets { th scope="col" { (budget.shown()) } }
                } }
                tbody { @for curve in curves { tr {
                    th scope="row" { (curve.label) }
                    @for budget in budgets { td { (at(curve, budget)) } }
                } } }
            }
        },
    )
}

fn color(curve: &Curve) -> String {
    format!("s{}", series::color(curve.series, COLORS).0)
}

/// Where colors come round again, lines are dashed.
fn dash(curve: &Curve) -> Option<&'static str> {
    [None, Some("6 3"), Some("2 3")][series::color(curve.series, COLORS).1 % 3]
}

/// Series differ by the shape of their markers too, not by color alone.
fn marker(series: usize, (x, y): (f64, f64)) -> String {
    let (x, y) = (short(x), short(y));
    match (series + series::color(series, COLORS).1) % 4 {
        0 => format!("M{x} {y}m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"),
        1 => format!("M{x} {y}m-3.6 -3.6h7.2v7.2h-7.2z"),
        2 => format!("M{x} {y}m0 -5l4.8 8.4h-9.6z"),
        _ => format!("M{x} {y}m0 -5l5 5l-5 5l-5 -5z"),
    }
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut text = String::new();
    points.for_each(|(x, y)| write!(text, "{},{} ", short(x), short(y)).expect("text takes text"));
    text.truncate(text.trim_end().len());
    text
}

/// To a tenth of a unit.
fn short(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
