//! Line charts of accuracy: axes, lines with bands, legend.

use plotters::prelude::*;

use super::canvas::{
    Align, Area, Canvas, GRID, INK, MARGIN, OVERSAMPLING, PALETTE, Rect, TOP, drawing, line_height, shorten,
    text_width,
};
use crate::report::{ReportError, series};

const TICK: f64 = 17.0;
const LABEL: f64 = 19.0;
/// Room left of a plot for its tick labels, and right of it for half of the last one.
const LEFT: i32 = 56;
const RIGHT: i32 = 22;
/// Room above a plot for its title and below it for tick labels and the axis label.
const ABOVE: i32 = 38;
const BELOW: i32 = 70;
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
    pub(super) stroke: u32,
}

/// One plot of percentages.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x_label: String,
    pub(super) x_range: (f64, f64),
    /// Position and label; labels that would touch are left out, the first and last are kept.
    pub(super) x_ticks: Vec<(f64, String)>,
    pub(super) lines: Vec<Line>,
}

/// Plots of one size side by side, under a heading, the legend of all and a note on how to read them.
pub(super) struct Panels {
    pub(super) title: String,
    pub(super) note: Option<&'static str>,
    pub(super) synthetic: bool,
    /// Whether points have markers.
    pub(super) marked: bool,
    /// Texts of the legend, each with its series.
    pub(super) entries: Vec<(String, usize)>,
    pub(super) size: (i32, i32),
    pub(super) plots: Vec<Plot>,
}

impl Panels {
    pub(super) fn paint(&self) -> Result<Canvas, ReportError> {
        let ((width, height), count) = (self.size, self.plots.len() as i32);
        let legend = legend(&self.entries, width * count)?;
        let note = TOP + legend.last().map_or(0, |last| last.y + LEGEND_LINE);
        let top = note + self.note.map_or(0, |_| LEGEND_LINE);
        let mut canvas = Canvas::new(2 * MARGIN + width * count, top + height + MARGIN);
        canvas.heading(&self.title, self.synthetic)?;
        legend.iter().try_for_each(|placed| placed.draw(&mut canvas, self.marked))?;
        if let Some(text) = self.note {
            canvas.text_within(text, (MARGIN, note), width * count, LABEL, Align::Left)?;
        }
        for (column, plot) in self.plots.iter().enumerate() {
            let outer = Rect::new(MARGIN + column as i32 * width, top, width, height);
            plot.draw(&mut canvas, outer, self.marked)?;
        }
        Ok(canvas)
    }
}

/// Where values are in a rectangle.
struct Scale {
    rect: Rect,
    range: (f64, f64),
}

impl Scale {
    fn at(&self, (x, y): (f64, f64)) -> (i32, i32) {
        let (rect, (low, high)) = (self.rect, self.range);
        let part = |share: f64, length: i32| (share * f64::from(length - 1)).round() as i32;
        let down = (100.0 + BEYOND - y) / (100.0 + 2.0 * BEYOND);
        (rect.x + part((x - low) / (high - low), rect.width), rect.y + part(down, rect.height))
    }
}

/// The percentages that have a label.
fn levels() -> impl Iterator<Item = f64> {
    (0..=5).map(|i| f64::from(20 * i))
}

impl Plot {
    /// With its labels, into `outer`.
    fn draw(&self, canvas: &mut Canvas, outer: Rect, marked: bool) -> Result<(), ReportError> {
        let (width, height) = (outer.width - LEFT - RIGHT, outer.height - ABOVE - BELOW);
        let inner = Rect::new(outer.x + LEFT, outer.y + ABOVE, width, height);
        let scale = Scale { rect: inner, range: self.x_range };
        let ticks = spaced(&self.x_ticks, |x| scale.at((x, 0.0)).0)?;
        canvas.reserve(inner);
        canvas.draw_in(inner, |area| self.draw_lines(area, &ticks, marked))?;
        canvas.outline(Rect::new(inner.x - 1, inner.y - 1, width + 2, height + 2), INK, 1)?;

        let (middle, room) = (inner.x + width / 2, outer.width - 16);
        canvas.text_within(&self.title, (middle, outer.y + 8), room, LABEL, Align::Center)?;
        for level in levels() {
            let y = scale.at((0.0, level)).1 - line_height(TICK) / 2;
            canvas.text(&level.to_string(), (inner.x - 8, y), TICK, INK, Align::Right)?;
        }
        for (x, label) in &ticks {
            let at = (scale.at((*x, 0.0)).0, inner.bottom() + 10);
            canvas.text(label, at, TICK, INK, Align::Center)?;
        }
        canvas.text_within(&self.x_label, (middle, inner.bottom() + 38), room, LABEL, Align::Center)
    }

    /// The grid, then the bands, then the lines, so that no band covers a line.
    fn draw_lines(&self, area: &Area<'_>, ticks: &[(f64, String)], marked: bool) -> Result<(), ReportError> {
        let (width, height) = area.dim_in_pixel();
        let scale = Scale { rect: Rect::new(0, 0, width as i32, height as i32), range: self.x_range };
        let path = |points: &[(f64, f64)], style: ShapeStyle| {
            let points: Vec<(i32, i32)> = points.iter().map(|&point| scale.at(point)).collect();
            area.draw(&PathElement::new(points, style)).map_err(drawing)
        };
        let upright = ticks.iter().map(|(x, _)| [(*x, -BEYOND), (*x, 100.0 + BEYOND)]);
        let across = levels().map(|level| [(self.x_range.0, level), (self.x_range.1, level)]);
        upright.chain(across).try_for_each(|line| path(&line, GRID.stroke_width(K)))?;
        for Line { band, series, .. } in self.lines.iter().filter(|line| line.band.len() > 1) {
            let lower = band.iter().map(|&(x, low, _)| scale.at((x, low)));
            let upper = band.iter().rev().map(|&(x, _, high)| scale.at((x, high)));
            let outline: Vec<(i32, i32)> = lower.chain(upper).collect();
            area.draw(&Polygon::new(outline, color(*series).mix(0.16).filled())).map_err(drawing)?;
        }
        for Line { points, series, stroke, .. } in &self.lines {
            path(points, color(*series).stroke_width(stroke * K))?;
            if marked {
                points.iter().try_for_each(|&point| draw_marker(area, *series, scale.at(point)))?;
            }
        }
        Ok(())
    }
}

fn color(series: usize) -> RGBColor {
    PALETTE[series::color(series, PALETTE.len()).0]
}

/// Series differ by the shape of their markers too, not by colour alone: another one where colours come round
/// again.
fn draw_marker(area: &Area<'_>, series: usize, (x, y): (i32, i32)) -> Result<(), ReportError> {
    let (fill, half) = (color(series).filled(), 5 * OVERSAMPLING);
    match (series + series::color(series, PALETTE.len()).1) % 3 {
        0 => area.draw(&Circle::new((x, y), 6 * K, fill)),
        1 => area.draw(&Rectangle::new([(x - half, y - half), (x + half, y + half)], fill)),
        _ => area.draw(&TriangleMarker::new((x, y), 8 * K, fill)),
    }
    .map_err(drawing)
}

/// The ticks whose labels have room.
fn spaced(ticks: &[(f64, String)], to_x: impl Fn(f64) -> i32) -> Result<Vec<(f64, String)>, ReportError> {
    let extent = |(x, label): &(f64, String)| {
        let half = text_width(label, TICK)? / 2 + 5;
        Ok((to_x(*x) - half, to_x(*x) + half))
    };
    let extents = ticks.iter().map(extent).collect::<Result<Vec<_>, ReportError>>()?;
    let Some(last) = ticks.len().checked_sub(1) else { return Ok(Vec::new()) };
    let mut kept: Vec<usize> = Vec::new();
    for i in 0..ticks.len() {
        let after_previous = kept.last().is_none_or(|&k| extents[k].1 <= extents[i].0);
        if after_previous && (i == last || kept.is_empty() || extents[i].1 <= extents[last].0) {
            kept.push(i);
        }
    }
    Ok(kept.into_iter().map(|i| ticks[i].clone()).collect())
}

const SAMPLE: i32 = 44;
const LEGEND_LINE: i32 = 28;

/// An entry of a legend: its text as shortened, and its place below [`TOP`] and right of [`MARGIN`].
struct Placed {
    text: String,
    series: usize,
    x: i32,
    y: i32,
}

/// The entries from the left, in as many rows as they need.
fn legend(entries: &[(String, usize)], width: i32) -> Result<Vec<Placed>, ReportError> {
    let (mut placed, mut x, mut y) = (Vec::new(), 0, 0);
    for (text, series) in entries {
        let text = shorten(text, LABEL, width - SAMPLE - 10)?;
        let wide = SAMPLE + 10 + text_width(&text, LABEL)?;
        if x > 0 && x + wide > width {
            (x, y) = (0, y + LEGEND_LINE);
        }
        placed.push(Placed { text, series: *series, x, y });
        x += wide + 30;
    }
    Ok(placed)
}

impl Placed {
    fn draw(&self, canvas: &mut Canvas, marked: bool) -> Result<(), ReportError> {
        let (x, y, series) = (MARGIN + self.x, TOP + self.y, self.series);
        let sample = Rect::new(x, y, SAMPLE, line_height(LABEL));
        canvas.draw_in(sample, |area| {
            let (middle, end) = (sample.height * OVERSAMPLING / 2, SAMPLE * OVERSAMPLING);
            let style = color(series).stroke_width(3 * K);
            area.draw(&PathElement::new(vec![(0, middle), (end, middle)], style)).map_err(drawing)?;
            if marked { draw_marker(area, series, (end / 2, middle)) } else { Ok(()) }
        })?;
        canvas.text(&self.text, (x + SAMPLE + 10, y), LABEL, INK, Align::Left)
    }
}
