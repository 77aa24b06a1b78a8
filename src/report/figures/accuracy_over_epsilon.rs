//! Accuracy over epsilon, with intervals, for several models.

use image::RgbImage;

use super::Figure;
use super::axis::Axis;
use super::canvas::{Canvas, Rect};
use super::chart::{Entry, LEGEND_LINE, Line, Plot, draw_legend, draw_plot, legend_rows};
use crate::attack::Norm;
use crate::evaluate::{Metrics, Proportion, Robustness};
use crate::pixels::Epsilon;
use crate::report::ReportError;

const MARGIN: i32 = 24;
const PLOT: (i32, i32) = (560, 540);

/// Accuracy over epsilon with Wilson 95 % bands, for several models: all images, and each class alone, the
/// positive one first (with more than two classes, the positive one only).
#[derive(Clone, Debug)]
pub struct AccuracyOverEpsilon {
    models: Vec<(String, Robustness)>,
}

impl AccuracyOverEpsilon {
    /// Models by name, each with its result. The figure is stamped if the images were drawn, not photographed.
    pub fn new<N: Into<String>>(models: impl IntoIterator<Item = (N, Robustness)>) -> Self {
        Self { models: models.into_iter().map(|(name, r)| (name.into(), r)).collect() }
    }

    fn paint(&self) -> Result<Canvas, ReportError> {
        let Some((_, first)) = self.models.first() else {
            let (input, expected) = ("models", "at least one");
            return Err(ReportError::Figure { input, expected, found: "none".into() });
        };
        if let Some((_, other)) = self.models.iter().find(|(_, r)| r.classes != first.classes) {
            let (input, expected) = ("models", "the same classes in all of them");
            let found = format!("{:?} and {:?}", first.classes, other.classes);
            return Err(ReportError::Figure { input, expected, found });
        }
        let norm = self.models.iter().find_map(|(_, r)| r.norm).unwrap_or(Norm::Linf);
        let axis = Axis::new(norm, self.models.iter().flat_map(|(_, r)| r.sweep.iter().map(|u| u.epsilon)));
        let classes = first.classes.len();
        let panels: Vec<Option<usize>> = match classes {
            0 => vec![None],
            1 | 2 => std::iter::once(None).chain((0..classes).rev().map(Some)).collect(),
            _ => vec![None, Some(classes - 1)],
        };
        let entries: Vec<Entry> = self
            .models
            .iter()
            .enumerate()
            .map(|(series, (name, _))| Entry { text: name.clone(), series, marked: true })
            .collect();
        let width = 2 * MARGIN + PLOT.0 * panels.len() as i32;
        let rows = legend_rows(&entries, width - 2 * MARGIN)?;
        let legend = rows.len() as i32 * LEGEND_LINE;
        let mut canvas = Canvas::new(width, MARGIN + 44 + legend + PLOT.1 + MARGIN);
        let attack = self.models.iter().find_map(|(_, r)| r.attack.as_deref()).unwrap_or("no attack");
        let title = format!("Accuracy (%) under {attack} over epsilon, with 95 % Wilson intervals");
        let synthetic = self.models.iter().any(|(_, r)| r.synthetic);
        let top = canvas.heading(&title, MARGIN, synthetic)?;
        draw_legend(&mut canvas, (MARGIN, top), &entries, &rows)?;
        for (column, panel) in panels.iter().enumerate() {
            let pick = |m: &Metrics| panel.map_or(m.accuracy, |class| m.classes[class].accuracy);
            let lines = self.models.iter().enumerate().map(|(series, (_, r))| line(r, series, &axis, pick));
            let images = pick(&first.clean).total;
            let title = match panel {
                None => format!("all images ({images})"),
                Some(class) => format!("{} images only ({images})", first.classes[*class]),
            };
            let plot = Plot {
                title: &title,
                x_label: axis.label(),
                x_range: axis.range(),
                x_ticks: axis.ticks(),
                lines: lines.collect(),
            };
            let outer = Rect::new(MARGIN + column as i32 * PLOT.0, top + legend, PLOT.0, PLOT.1);
            draw_plot(&mut canvas, outer, &plot)?;
        }
        Ok(canvas)
    }
}

impl Figure for AccuracyOverEpsilon {
    fn draw(&self) -> Result<RgbImage, ReportError> {
        Ok(self.paint()?.into_image())
    }
}

fn line(robustness: &Robustness, series: usize, axis: &Axis, pick: impl Fn(&Metrics) -> Proportion) -> Line {
    let clean = (Epsilon::ZERO, pick(&robustness.clean));
    let attacked = robustness.sweep.iter().map(|u| (u.epsilon, pick(&u.metrics)));
    axis.line(series, std::iter::once(clean).chain(attacked.filter(|(epsilon, _)| epsilon.value() > 0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::TensorSet;
    use crate::evaluate::Evaluation;
    use crate::prelude::*;

    fn robustness(levels: &[f64], classes: &[&str]) -> Robustness {
        let device = Device::default();
        let classes: Vec<String> = classes.iter().map(|c| c.to_string()).collect();
        let labels: Vec<usize> = (0..classes.len()).collect();
        let count = classes.len();
        let victim =
            Frozen::from_fn(count, &device, move |x| Tensor::zeros([x.dims()[0], count], &x.device()));
        let data = TensorSet::new(Tensor::zeros([count, 1, 2, 2], &device), labels, classes).unwrap();
        Evaluation::new(&victim)
            .attack(Fgsm::new(Epsilon::ZERO))
            .epsilons(levels.iter().map(|&level| Epsilon::pixels(level)))
            .run(&data)
            .unwrap()
    }

    #[test]
    fn text_stays_clear_of_plots_and_other_text() {
        let long = "a class whose name does not end where it should ".repeat(3);
        let thirty: Vec<f64> = (0..30).map(|i| f64::from(i) * 1.25).collect();
        let near: Vec<f64> = (0..20).map(|i| 0.01 * 1.5f64.powi(i)).collect();
        for levels in [&[0.0][..], &[8.0], &[0.0, 8.0], &[0.5, 1.0, 2.0, 4.0, 8.0, 16.0], &thirty, &near] {
            for classes in [&["benign", "malignant"][..], &["a", "b", "c"], &["benign", &long]] {
                let models =
                    [(long.clone(), robustness(levels, classes)), ("b".into(), robustness(&[], classes))];
                let clashes = AccuracyOverEpsilon::new(models).paint().unwrap().clashes();
                assert!(clashes.is_empty(), "{levels:?}: {clashes:?}");
            }
        }
    }

    #[test]
    fn refuses_models_of_different_classes() {
        let models = [("a", robustness(&[], &["x", "y"])), ("b", robustness(&[], &["x", "z"]))];
        assert!(AccuracyOverEpsilon::new(models).draw().is_err());
        assert!(AccuracyOverEpsilon::new(Vec::<(String, Robustness)>::new()).draw().is_err());
    }
}
