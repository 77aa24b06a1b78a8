//! The paper's Fig. 5: accuracy over epochs.

use super::canvas::Canvas;
use super::chart::{Line, Panels, Plot};
use super::figure::Paint;
use crate::report::{EpochMetrics, History, ReportError};

const PLOT: (i32, i32) = (620, 520);
/// Colours and markers other than those of models in other figures.
const VALIDATION: usize = 2;
const TRAINING: usize = 4;
const ATTACKED: usize = 1;
/// Markers on every epoch up to here.
const MARKED: usize = 30;

/// The paper's Fig. 5: training and validation accuracy over epochs, one panel a model; and validation accuracy under
/// attack where the epoch was chosen by it.
#[derive(Clone, Debug)]
pub struct AccuracyCurves {
    models: Vec<(String, History)>,
    synthetic: bool,
}

impl AccuracyCurves {
    /// Models by name, each with its history.
    pub fn new<N: Into<String>>(models: impl IntoIterator<Item = (N, History)>) -> Self {
        Self { models: models.into_iter().map(|(name, h)| (name.into(), h)).collect(), synthetic: false }
    }

    /// Stamps the figure if the images were drawn, not photographed.
    pub fn synthetic(mut self, synthetic: bool) -> Self {
        self.synthetic = synthetic;
        self
    }
}

impl Paint for AccuracyCurves {
    fn paint(&self) -> Result<Canvas, ReportError> {
        let epochs = || self.models.iter().flat_map(|(_, h)| &h.epochs).map(|e| e.epoch);
        let (Some(first), Some(last)) = (epochs().min(), epochs().max()) else {
            return Err(ReportError::refused("histories", "at least one epoch", "none"));
        };
        let marked = self.models.iter().all(|(_, history)| history.epochs.len() <= MARKED);
        let room = if first == last { 1.0 } else { (last - first) as f64 * 0.03 };
        let line = |history: &History, series: usize, value: fn(&EpochMetrics) -> Option<f64>| {
            let point =
                |e: &EpochMetrics| Some((e.epoch as f64, 100.0 * value(e).filter(|v| v.is_finite())?));
            let points = history.epochs.iter().filter_map(point).collect();
            Line { points, band: Vec::new(), series, stroke: if marked { 3 } else { 2 } }
        };
        let plots = self.models.iter().map(|(name, history)| Plot {
            title: name.clone(),
            x_label: "epoch".into(),
            x_range: (first as f64 - room, last as f64 + room),
            x_ticks: epoch_ticks(first, last),
            lines: vec![
                line(history, TRAINING, |e| e.train_accuracy),
                line(history, VALIDATION, |e| e.validation_accuracy),
                line(history, ATTACKED, |e| e.attacked_accuracy),
            ],
        });
        let mut entries = vec![("validation".into(), VALIDATION), ("training".into(), TRAINING)];
        let attacked = |(_, history): &(String, History)| {
            history.epochs.iter().any(|epoch| epoch.attacked_accuracy.is_some())
        };
        if self.models.iter().any(attacked) {
            entries.push(("validation under attack".into(), ATTACKED));
        }
        Panels {
            title: "Accuracy (%) over epochs".into(),
            note: None,
            synthetic: self.synthetic,
            marked,
            entries,
            size: PLOT,
            plots: plots.collect(),
        }
        .paint()
    }
}

/// Round numbers, at most about eight, and the first epoch.
pub(super) fn epoch_ticks(first: usize, last: usize) -> Vec<(f64, String)> {
    let span = (last - first).max(1);
    let step = (0..)
        .flat_map(|power| [1, 2, 5].map(|digit: usize| digit * 10usize.pow(power)))
        .find(|step| span / step <= 8)
        .expect("steps grow without end");
    let mut ticks: Vec<usize> = (first..=last).filter(|e| e % step == 0).collect();
    if !ticks.contains(&first) && ticks.first().is_none_or(|&tick| tick - first > step / 2) {
        ticks.insert(0, first);
    }
    ticks.into_iter().map(|epoch| (epoch as f64, epoch.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::Figure;

    fn history(epochs: usize) -> History {
        let epochs = (1..=epochs)
            .map(|epoch| EpochMetrics {
                epoch,
                train_accuracy: Some(1.0),
                validation_accuracy: Some(0.0),
                ..Default::default()
            })
            .collect();
        History { epochs, ..Default::default() }
    }

    #[test]
    fn text_stays_clear_of_plots_and_other_text() {
        for epochs in [1, 2, 7, 12, 30, 99, 400, 12345] {
            let long = "Gaussian noise with a very long description ".repeat(4);
            let figure = AccuracyCurves::new([("original", history(1)), (&*long, history(epochs))]);
            let clashes = figure.synthetic(true).paint().unwrap().clashes();
            assert!(clashes.is_empty(), "{epochs}: {clashes:?}");
        }
    }

    #[test]
    fn ticks_are_round() {
        let ticks = |first, last| epoch_ticks(first, last).into_iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(ticks(1, 1), ["1"]);
        assert_eq!(ticks(1, 4), ["1", "2", "3", "4"]);
        assert_eq!(ticks(1, 400), ["1", "50", "100", "150", "200", "250", "300", "350", "400"]);
        assert_eq!(ticks(3, 12), ["4", "6", "8", "10", "12"]);
    }

    #[test]
    fn refuses_histories_without_epochs() {
        assert!(AccuracyCurves::new([("original", history(0))]).draw().is_err());
    }
}
