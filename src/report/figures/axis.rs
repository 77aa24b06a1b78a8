//! Lines and plots over the axis of budgets.

use super::chart::{Line, Plot};
use crate::evaluate::Proportion;
use crate::pixels::Budget;
pub(super) use crate::report::axis::{Axis, swept};

impl Axis {
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
        Plot { title, x_label: self.label(), x_range: self.range(), x_ticks: self.ticks(), lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::Norm;

    #[test]
    fn accuracies_are_in_per_cent() {
        let axis = Axis::new(Norm::L2, [0.25, 1.0].map(Budget::l2).into_iter());
        let line = axis.line(0, [(Budget::l2(1.0), Proportion::new(1, 2))].into_iter());
        assert_eq!(line.points, [(1.0, 50.0)]);
    }
}
