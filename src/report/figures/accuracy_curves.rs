//! The paper's Fig. 5: accuracy over epochs.

use image::RgbImage;

use super::Figure;
use super::canvas::{Canvas, Rect};
use super::chart::{Entry, LEGEND_LINE, Line, Plot, draw_legend, draw_plot, legend_rows};
use crate::report::{EpochMetrics, History, ReportError};

const MARGIN: i32 = 24;
const PLOT: (i32, i32) = (620, 520);
/// Colours and markers other than those of models in other figures.
const VALIDATION: usize = 2;
const TRAINING: usize = 4;
/// Markers on every epoch up to here.
const MARKED: usize = 30;

/// The paper's Fig. 5: training and validation accuracy over epochs, one panel a model.
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

    fn paint(&self) -> Result<Canvas, ReportError> {
        let epochs = || self.models.iter().flat_map(|(_, h)| &h.epochs).map(|e| e.epoch);
        let (Some(first), Some(last)) = (epochs().min(), epochs().max()) else {
            let (input, expected) = ("histories", "at least one epoch");
            return Err(ReportError::Figure { input, expected, found: "none".into() });
        };
        let most = self.models.iter().map(|(_, h)| h.epochs.len()).max().unwrap_or(0);
        let (marked, stroke) = (most <= MARKED, if most <= MARKED { 3 } else { 2 });
        let entries = [("validation", VALIDATION), ("training", TRAINING)].map(|(text, series)| Entry {
            text: text.into(),
            series,
            marked,
        });
        let width = 2 * MARGIN + PLOT.0 * self.models.len() as i32;
        let rows = legend_rows(&entries, width - 2 * MARGIN)?;
        let legend = rows.len() as i32 * LEGEND_LINE;
        let mut canvas = Canvas::new(width, MARGIN + 44 + legend + PLOT.1 + MARGIN);
        let top = canvas.heading("Accuracy (%) over epochs", MARGIN, self.synthetic)?;
        draw_legend(&mut canvas, (MARGIN, top), &entries, &rows)?;
        let x_range = match last - first {
            0 => (first as f64 - 1.0, first as f64 + 1.0),
            span => {
                let room = span as f64 * 0.03;
                (first as f64 - room, last as f64 + room)
            }
        };
        for (column, (name, history)) in self.models.iter().enumerate() {
            let line = |series: usize, value: fn(&EpochMetrics) -> Option<f64>| Line {
                points: history
                    .epochs
                    .iter()
                    .filter_map(|e| Some((e.epoch as f64, 100.0 * value(e).filter(|v| v.is_finite())?)))
                    .collect(),
                band: Vec::new(),
                series,
                markers: marked,
                stroke,
            };
            let plot = Plot {
                title: name,
                x_label: "epoch",
                x_range,
                x_ticks: epoch_ticks(first, last),
                lines: vec![
                    line(TRAINING, |e| e.train_accuracy),
                    line(VALIDATION, |e| e.validation_accuracy),
                ],
            };
            let outer = Rect::new(MARGIN + column as i32 * PLOT.0, top + legend, PLOT.0, PLOT.1);
            draw_plot(&mut canvas, outer, &plot)?;
        }
        Ok(canvas)
    }
}

/// Round numbers, at most about eight, and the first epoch.
fn epoch_ticks(first: usize, last: usize) -> Vec<(f64, String)> {
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

impl Figure for AccuracyCurves {
    fn draw(&self) -> Result<RgbImage, ReportError> {
        Ok(self.paint()?.into_image())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(epochs: usize) -> History {
        let epochs = (1..=epochs)
            .map(|epoch| EpochMetrics {
                epoch,
                train_accuracy: Some(1.0),
                validation_accuracy: Some(0.0),
                ..Default::default()
            })
            .collect();
        History { epochs, best_epoch: None }
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
