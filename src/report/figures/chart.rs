//! Line charts of accuracy: axes, lines with bands, legend.

use plotters::prelude::*;

use super::canvas::{
    Align, Canvas, GRID, INK, OVERSAMPLING, PALETTE, Rect, drawing, line_height, shorten, text_width,
};
use crate::report::ReportError;

pub(super) const TICK: f64 = 17.0;
pub(super) const LABEL: f64 = 19.0;
/// Room left of a plot for its tick labels, and right of it for half of the last one.
pub(super) const LEFT: i32 = 56;
pub(super) const RIGHT: i32 = 22;
/// Room above a plot for its title and below it for tick labels and the axis label.
pub(super) const ABOVE: i32 = 38;
pub(super) const BELOW: i32 = 70;
/// Strokes and markers are drawn on the enlarged canvas.
const K: u32 = OVERSAMPLING as u32;
/// Percent shown beyond 0 and 100, so that lines at the ends are not cut.
const BEYOND: f64 = 3.0;

/// One line of a chart; values in percent.
pub(super) struct Line {
    pub(super) points: Vec<(f64, f64)>,
    /// x, lower and upper bound.
    pub(super) band: Vec<(f64, f64, f64)>,
    pub(super) series: usize,
    pub(super) markers: bool,
    pub(super) stroke: u32,
}

/// One plot of percentages.
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) x_label: &'a str,
    pub(super) x_range: (f64, f64),
    /// Position and label; labels that would touch are left out, the first and last are kept.
    pub(super) x_ticks: Vec<(f64, String)>,
    pub(super) lines: Vec<Line>,
}

pub(super) fn color(series: usize) -> RGBColor {
    PALETTE[series % PALETTE.len()]
}

/// The shape of a series' marker; another one where the colours come round again.
const fn marker(series: usize) -> usize {
    (series + series / PALETTE.len()) % 3
}

/// Draws the plot with its labels into `outer`.
pub(super) fn draw_plot(canvas: &mut Canvas, outer: Rect, plot: &Plot<'_>) -> Result<(), ReportError> {
    let inner =
        Rect::new(outer.x + LEFT, outer.y + ABOVE, outer.width - LEFT - RIGHT, outer.height - ABOVE - BELOW);
    let (low, high) = plot.x_range;
    let to_x = |x: f64| inner.x + ((x - low) / (high - low) * f64::from(inner.width - 1)).round() as i32;
    let to_y = |y: f64| {
        inner.y + ((100.0 + BEYOND - y) / (100.0 + 2.0 * BEYOND) * f64::from(inner.height - 1)).round() as i32
    };
    let ticks = spaced(&plot.x_ticks, to_x)?;

    canvas.reserve(inner);
    canvas.draw_in(inner, |area| {
        let mut chart =
            ChartBuilder::on(area).build_cartesian_2d(low..high, -BEYOND..100.0 + BEYOND).map_err(drawing)?;
        let grid = ticks
            .iter()
            .map(|(x, _)| vec![(*x, -BEYOND), (*x, 100.0 + BEYOND)])
            .chain((0..=5).map(|i| f64::from(i) * 20.0).map(|y| vec![(low, y), (high, y)]));
        chart.draw_series(grid.map(|path| PathElement::new(path, GRID.stroke_width(K)))).map_err(drawing)?;
        for line in &plot.lines {
            let lower = line.band.iter().map(|&(x, low, _)| (x, low));
            let upper = line.band.iter().rev().map(|&(x, _, high)| (x, high));
            if line.band.len() > 1 {
                let outline: Vec<(f64, f64)> = lower.chain(upper).collect();
                let fill = color(line.series).mix(0.16).filled();
                chart.draw_series([Polygon::new(outline, fill)]).map_err(drawing)?;
            }
        }
        for line in &plot.lines {
            let style = color(line.series).stroke_width(line.stroke * K);
            let points = line.points.iter().copied();
            chart.draw_series(LineSeries::new(points, style)).map_err(drawing)?;
            if line.markers {
                let style = color(line.series).filled();
                let at = line.points.iter().copied();
                match marker(line.series) {
                    0 => chart.draw_series(at.map(|p| Circle::new(p, 6 * K, style))).map(|_| ()),
                    1 => chart
                        .draw_series(at.map(|p| EmptyElement::at(p) + Rectangle::new(square(), style)))
                        .map(|_| ()),
                    _ => chart.draw_series(at.map(|p| TriangleMarker::new(p, 8 * K, style))).map(|_| ()),
                }
                .map_err(drawing)?;
            }
        }
        Ok(())
    })?;
    canvas.outline(Rect::new(inner.x - 1, inner.y - 1, inner.width + 2, inner.height + 2), INK, 1)?;

    let middle = inner.x + inner.width / 2;
    canvas.text_within(plot.title, (middle, outer.y + 8), outer.width - 16, LABEL, Align::Center)?;
    for percent in (0..=5).map(|i| i * 20) {
        let y = to_y(f64::from(percent)) - line_height(TICK) / 2;
        canvas.text(&format!("{percent}"), (inner.x - 8, y), TICK, INK, Align::Right)?;
    }
    for (x, label) in &ticks {
        canvas.text(label, (to_x(*x), inner.bottom() + 10), TICK, INK, Align::Center)?;
    }
    canvas.text_within(
        plot.x_label,
        (middle, inner.bottom() + 38),
        outer.width - 16,
        LABEL,
        Align::Center,
    )?;
    Ok(())
}

/// A square marker: series differ by the shape of their markers too, not by colour alone.
fn square() -> [(i32, i32); 2] {
    let half = 5 * OVERSAMPLING;
    [(-half, -half), (half, half)]
}

/// The ticks whose labels have room.
fn spaced(ticks: &[(f64, String)], to_x: impl Fn(f64) -> i32) -> Result<Vec<(f64, String)>, ReportError> {
    let mut extents = Vec::with_capacity(ticks.len());
    for (x, label) in ticks {
        let half = text_width(label, TICK)? / 2 + 5;
        extents.push((to_x(*x) - half, to_x(*x) + half));
    }
    let Some(last) = ticks.len().checked_sub(1) else { return Ok(Vec::new()) };
    let mut kept: Vec<usize> = Vec::new();
    for i in 0..ticks.len() {
        let after_previous = kept.last().is_none_or(|&k| extents[k].1 <= extents[i].0);
        let before_last = i == last || extents[i].1 <= extents[last].0;
        if after_previous && (before_last || kept.is_empty()) {
            kept.push(i);
        }
    }
    Ok(kept.into_iter().map(|i| ticks[i].clone()).collect())
}

/// One entry of a legend.
pub(super) struct Entry {
    pub(super) text: String,
    pub(super) series: usize,
    pub(super) marked: bool,
}

const SAMPLE: i32 = 44;

/// An entry with its text as shortened, and its left end.
pub(super) struct Placed {
    entry: usize,
    text: String,
    x: i32,
}

/// The rows of a legend, filled from the left.
pub(super) fn legend_rows(entries: &[Entry], width: i32) -> Result<Vec<Vec<Placed>>, ReportError> {
    let mut rows: Vec<Vec<Placed>> = vec![Vec::new()];
    let mut x = 0;
    for (entry, Entry { text, .. }) in entries.iter().enumerate() {
        let text = shorten(text, LABEL, width - SAMPLE - 10)?;
        let wide = SAMPLE + 10 + text_width(&text, LABEL)?;
        if x > 0 && x + wide > width {
            rows.push(Vec::new());
            x = 0;
        }
        rows.last_mut().expect("never empty").push(Placed { entry, text, x });
        x += wide + 30;
    }
    Ok(rows)
}

pub(super) const LEGEND_LINE: i32 = 28;

pub(super) fn draw_legend(
    canvas: &mut Canvas,
    (left, top): (i32, i32),
    entries: &[Entry],
    rows: &[Vec<Placed>],
) -> Result<(), ReportError> {
    for (row, items) in rows.iter().enumerate() {
        let y = top + row as i32 * LEGEND_LINE;
        for Placed { entry, text, x } in items {
            let entry = &entries[*entry];
            let sample = Rect::new(left + x, y, SAMPLE, line_height(LABEL));
            canvas.draw_in(sample, |area| {
                let style = color(entry.series).stroke_width(3 * K);
                let (middle, end) = (sample.height * OVERSAMPLING / 2, SAMPLE * OVERSAMPLING);
                area.draw(&PathElement::new(vec![(0, middle), (end, middle)], style)).map_err(drawing)?;
                let (fill, centre) = (color(entry.series).filled(), (end / 2, middle));
                match (marker(entry.series), entry.marked) {
                    (_, false) => Ok(()),
                    (0, _) => area.draw(&Circle::new(centre, 6 * K, fill)),
                    (1, _) => area.draw(&(EmptyElement::at(centre) + Rectangle::new(square(), fill))),
                    _ => area.draw(&TriangleMarker::new(centre, 8 * K, fill)),
                }
                .map_err(drawing)
            })?;
            canvas.text(text, (left + x + SAMPLE + 10, y), LABEL, INK, Align::Left)?;
        }
    }
    Ok(())
}
