//! The axis of budgets, and the lines above it.

use super::chart::{Line, Plot};
use crate::evaluate::{EvaluationResult, Metrics, Proportion, UnderAttack};
use crate::pixels::{Budget, Epsilon, Norm};
use crate::report::document::attacked;

/// From this ratio of the largest to the smallest epsilon on, the axis is stretched near zero.
const STRETCHED: f64 = 16.0;

/// Budgets from zero on, linear or stretched near zero: `log2(1 + level / smallest)`. L-infinity in grey
/// levels, other norms as they are.
pub(super) struct Axis {
    norm: Norm,
    levels: Vec<f64>,
    stretched: bool,
}

/// A classifier without attack, and then with every budget of a sweep.
pub(super) fn swept<'r>(
    norm: Norm,
    result: &'r EvaluationResult,
    sweep: &'r [UnderAttack],
) -> Vec<(Budget, &'r Metrics)> {
    let clean = (Budget::new(norm, Epsilon::ZERO), &result.clean.metrics);
    std::iter::once(clean).chain(attacked(sweep).map(|under| (under.budget, &under.metrics))).collect()
}

impl Axis {
    pub(super) fn new(norm: Norm, budgets: impl Iterator<Item = Budget>) -> Self {
        let mut levels: Vec<f64> = std::iter::once(0.0).chain(budgets.map(Budget::level)).collect();
        levels.sort_by(f64::total_cmp);
        levels.dedup_by(|a, b| (*a - *b).abs() < 1e-6);
        let ratio = levels.last().zip(levels.get(1)).map_or(1.0, |(last, first)| last / first);
        Self { norm, stretched: ratio >= STRETCHED, levels }
    }

    /// Accuracies in per cent over these budgets, with their intervals as a band.
    pub(super) fn line(&self, series: usize, points: impl Iterator<Item = (Budget, Proportion)>) -> Line {
        let (mut line, mut band) = (Vec::new(), Vec::new());
        for (budget, proportion) in points {
            let x = self.position(budget.level());
            line.extend(proportion.value.map(|value| (x, 100.0 * value)));
            band.extend(proportion.interval.map(|i| (x, 100.0 * i.low, 100.0 * i.high)));
        }
        Line { points: line, band, series, stroke: 3 }
    }

    /// A plot of these lines.
    pub(super) fn plot(&self, title: String, lines: Vec<Line>) -> Plot {
        let label = |&level: &f64| (self.position(level), ((level * 100.0).round() / 100.0).to_string());
        let unit = match self.norm {
            Norm::Linf => "in grey levels of 255".into(),
            norm => format!("as {norm} over the image"),
        };
        let stretched = if self.stretched { " (log-like axis)" } else { "" };
        Plot {
            title,
            x_label: format!("epsilon {unit}{stretched}"),
            x_range: self.range(),
            x_ticks: self.levels.iter().map(label).collect(),
            lines,
        }
    }

    fn position(&self, level: f64) -> f64 {
        match self.levels.get(1) {
            Some(smallest) if self.stretched => (1.0 + level / smallest).log2(),
            _ => level,
        }
    }

    pub(super) fn range(&self) -> (f64, f64) {
        let end = self.position(*self.levels.last().expect("zero is always there"));
        let end = if end > 0.0 { end } else { 1.0 };
        (-0.04 * end, 1.04 * end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_rises_from_zero_and_stretches_wide_ranges() {
        let axis = |levels: &[f64]| Axis::new(Norm::Linf, levels.iter().map(|&level| Budget::pixels(level)));
        assert!(!axis(&[1.0, 2.0, 8.0]).stretched && axis(&[0.5, 8.0]).stretched);
        let wide = axis(&[0.5, 1.0, 16.0]);
        // log2(1 + 0), log2(1 + 1), log2(1 + 2), log2(1 + 32).
        for (level, by_hand) in [(0.0, 0.0), (0.5, 1.0), (1.0, 1.5849625), (16.0, 5.0443941)] {
            assert!((wide.position(level) - by_hand).abs() < 1e-6);
        }
    }

    #[test]
    fn other_norms_are_shown_as_they_are() {
        let axis = Axis::new(Norm::L2, [0.25, 1.0].map(Budget::l2).into_iter());
        let plot = axis.plot(String::new(), Vec::new());
        let labels: Vec<String> = plot.x_ticks.into_iter().map(|(_, label)| label).collect();
        assert_eq!(
            (plot.x_label.as_str(), labels),
            ("epsilon as L2 over the image", ["0", "0.25", "1"].map(String::from).into())
        );
        assert_eq!(
            axis.line(0, [(Budget::l2(1.0), Proportion::new(1, 2))].into_iter()).points,
            [(1.0, 50.0)]
        );
    }
}
