//! The axis of budgets, and the lines above it.

use super::chart::Line;
use crate::attack::Norm;
use crate::evaluate::Proportion;
use crate::pixels::Epsilon;

/// From this ratio of the largest to the smallest epsilon on, the axis is stretched near zero.
const STRETCHED: f64 = 16.0;

/// Budgets from zero on, linear or stretched near zero: `log2(1 + level / smallest)`. L-infinity in grey
/// levels, other norms as they are.
pub(super) struct Axis {
    norm: Norm,
    levels: Vec<f64>,
    stretched: bool,
}

impl Axis {
    pub(super) fn new(norm: Norm, epsilons: impl Iterator<Item = Epsilon>) -> Self {
        let mut levels: Vec<f64> =
            std::iter::once(0.0).chain(epsilons.map(|epsilon| level(norm, epsilon))).collect();
        levels.sort_by(f64::total_cmp);
        levels.dedup_by(|a, b| (*a - *b).abs() < 1e-6);
        let ratio = levels.last().zip(levels.get(1)).map_or(1.0, |(last, first)| last / first);
        Self { norm, stretched: ratio >= STRETCHED, levels }
    }

    /// Accuracies in per cent over these budgets, with their intervals as a band.
    pub(super) fn line(&self, series: usize, points: impl Iterator<Item = (Epsilon, Proportion)>) -> Line {
        let measured: Vec<(f64, Proportion)> = points
            .map(|(epsilon, proportion)| (self.position(level(self.norm, epsilon)), proportion))
            .collect();
        Line {
            points: measured.iter().filter_map(|(x, p)| Some((*x, 100.0 * p.value?))).collect(),
            band: measured
                .iter()
                .filter_map(|(x, p)| p.interval.map(|i| (*x, 100.0 * i.low, 100.0 * i.high)))
                .collect(),
            series,
            markers: true,
            stroke: 3,
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

    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let label = |level: f64| format!("{}", (level * 100.0).round() / 100.0);
        self.levels.iter().map(|&level| (self.position(level), label(level))).collect()
    }

    pub(super) const fn label(&self) -> &'static str {
        match (self.norm, self.stretched) {
            (Norm::Linf, true) => "epsilon in grey levels of 255 (log-like axis)",
            (Norm::Linf, false) => "epsilon in grey levels of 255",
            (_, true) => "epsilon, norm over the image (log-like axis)",
            (_, false) => "epsilon, norm over the image",
        }
    }
}

fn level(norm: Norm, epsilon: Epsilon) -> f64 {
    if norm == Norm::Linf { epsilon.as_pixels() } else { epsilon.value() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_rises_from_zero_and_stretches_wide_ranges() {
        let axis = |levels: &[f64]| Axis::new(Norm::Linf, levels.iter().map(|&level| Epsilon::pixels(level)));
        assert!(!axis(&[1.0, 2.0, 8.0]).stretched && axis(&[0.5, 8.0]).stretched);
        let wide = axis(&[0.5, 1.0, 16.0]);
        // log2(1 + 0), log2(1 + 1), log2(1 + 2), log2(1 + 32).
        for (level, by_hand) in [(0.0, 0.0), (0.5, 1.0), (1.0, 1.5849625), (16.0, 5.0443941)] {
            assert!((wide.position(level) - by_hand).abs() < 1e-6);
        }
    }

    #[test]
    fn other_norms_are_shown_as_they_are() {
        let axis = Axis::new(Norm::L2, [0.25, 1.0].map(Epsilon::unit).into_iter());
        let labels: Vec<String> = axis.ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["0", "0.25", "1"]);
        assert_eq!(
            axis.line(0, [(Epsilon::unit(1.0), Proportion::new(1, 2))].into_iter()).points,
            [(1.0, 50.0)]
        );
    }
}
