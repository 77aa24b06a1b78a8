//! The axis of budgets.

use crate::evaluate::{EvaluationResult, Metrics, UnderAttack};
use crate::pixels::{Budget, Epsilon, Norm};

use super::document::attacked;

/// From this ratio of the largest to the smallest epsilon on, the axis is stretched near zero.
const STRETCHED: f64 = 16.0;

/// Budgets from zero on, linear or stretched near zero: `log2(1 + level / smallest)`. L-infinity in grey
/// levels, other norms as they are.
pub(super) struct Axis {
    norm: Norm,
    budgets: Vec<Budget>,
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
        let zero = Budget::new(norm, Epsilon::ZERO);
        let mut budgets: Vec<Budget> = std::iter::once(zero).chain(budgets).collect();
        budgets.sort_by(Budget::total_cmp);
        budgets.dedup_by(|a, b| (a.level() - b.level()).abs() < 1e-6);
        let ratio =
            budgets.last().zip(budgets.get(1)).map_or(1.0, |(last, first)| last.level() / first.level());
        Self { norm, stretched: ratio >= STRETCHED, budgets }
    }

    /// Every budget once, rising from zero.
    pub(super) fn budgets(&self) -> &[Budget] {
        &self.budgets
    }

    /// What it measures, in words.
    pub(super) fn label(&self) -> String {
        let unit = match self.norm {
            Norm::Linf => "in grey levels of 255".into(),
            norm => format!("as {norm} over the image"),
        };
        let stretched = if self.stretched { " (log-like axis)" } else { "" };
        format!("epsilon {unit}{stretched}")
    }

    /// The place of every budget with its text.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let tick = |level: f64| (self.position(level), ((level * 100.0).round() / 100.0).to_string());
        self.budgets.iter().map(|budget| tick(budget.level())).collect()
    }

    pub(super) fn position(&self, level: f64) -> f64 {
        match self.budgets.get(1) {
            Some(smallest) if self.stretched => (1.0 + level / smallest.level()).log2(),
            _ => level,
        }
    }

    pub(super) fn range(&self) -> (f64, f64) {
        let end = self.position(self.budgets.last().expect("zero is always there").level());
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
        let labels: Vec<String> = axis.ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(axis.label(), "epsilon as L2 over the image");
        assert_eq!(labels, ["0", "0.25", "1"]);
    }
}
