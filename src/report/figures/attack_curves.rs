//! Accuracy over epsilon under every attack of a battery.

use image::RgbImage;

use super::Figure;
use super::axis::Axis;
use super::canvas::{Canvas, Rect};
use super::chart::{Entry, LEGEND_LINE, Plot, draw_legend, draw_plot, legend_rows};
use crate::attack::Norm;
use crate::evaluate::{AtEpsilon, Battery, Proportion};
use crate::pixels::Epsilon;
use crate::report::ReportError;

const MARGIN: i32 = 24;
const PLOT: (i32, i32) = (620, 560);
/// How far curves are set apart, and all of them together, as shares of the axis.
const APART: f64 = 0.009;
const APART_ALL: f64 = 0.07;
const WORST: &str = "worst case of all";

/// Accuracy over epsilon in one norm: a panel a model, a curve an attack, and the worst case of all with its
/// Wilson 95 % band.
#[derive(Clone, Debug)]
pub struct AttackCurves {
    norm: Norm,
    models: Vec<Model>,
}

#[derive(Clone, Debug)]
struct Model {
    name: String,
    synthetic: bool,
    images: usize,
    curves: Vec<Curve>,
}

/// A label and the accuracy at every budget; zero without attack.
#[derive(Clone, Debug)]
struct Curve {
    label: String,
    points: Vec<(Epsilon, Proportion)>,
}

impl AttackCurves {
    /// Models by name, each with its battery; attacks in other norms are left out. The figure is stamped if
    /// the images were drawn, not photographed.
    pub fn new<'b, N: Into<String>>(norm: Norm, models: impl IntoIterator<Item = (N, &'b Battery)>) -> Self {
        let model = |(name, battery): (N, &Battery)| {
            let clean = (Epsilon::ZERO, battery.clean.metrics.accuracy);
            let points = |sweep: &[AtEpsilon]| {
                let attacked = sweep.iter().map(|at| (at.under.epsilon, at.under.metrics.accuracy));
                std::iter::once(clean).chain(attacked.filter(|(e, _)| e.value() > 0.0)).collect()
            };
            let worst = battery.worst_case(norm).filter(|worst| worst.attacks.len() > 1);
            let worst = worst.map(|worst| Curve { label: WORST.into(), points: points(&worst.sweep) });
            let attacks = battery.attacks.iter().filter(|attack| attack.norm == norm);
            let attacks =
                attacks.map(|attack| Curve { label: attack.label.clone(), points: points(&attack.sweep) });
            Model {
                name: name.into(),
                synthetic: battery.synthetic,
                images: battery.records.len(),
                curves: worst.into_iter().chain(attacks).collect(),
            }
        };
        Self { norm, models: models.into_iter().map(model).collect() }
    }

    fn paint(&self) -> Result<Canvas, ReportError> {
        let curves = || self.models.iter().flat_map(|model| &model.curves);
        let mut labels: Vec<&str> = Vec::new();
        for curve in curves() {
            if !labels.contains(&curve.label.as_str()) {
                labels.push(&curve.label);
            }
        }
        if labels.is_empty() {
            let (input, expected) = ("models", "at least one with an attack in this norm");
            return Err(ReportError::Figure { input, expected, found: format!("none in {}", self.norm) });
        }
        let axis = Axis::new(self.norm, curves().flat_map(|c| c.points.iter().map(|(epsilon, _)| *epsilon)));
        let entries: Vec<Entry> = (labels.iter().enumerate())
            .map(|(series, label)| Entry { text: label.to_string(), series, marked: true })
            .collect();
        let width = 2 * MARGIN + PLOT.0 * self.models.len() as i32;
        let rows = legend_rows(&entries, width - 2 * MARGIN)?;
        let legend = rows.len() as i32 * LEGEND_LINE;
        let mut canvas = Canvas::new(width, MARGIN + 44 + legend + PLOT.1 + MARGIN);
        let note = match labels.contains(&WORST) {
            true => ": attacks set apart sideways, worst case with 95 % band",
            false => ", with 95 % Wilson band",
        };
        let title = format!("Accuracy (%) over epsilon, {}{note}", self.norm);
        let top = canvas.heading(&title, MARGIN, self.models.iter().any(|model| model.synthetic))?;
        draw_legend(&mut canvas, (MARGIN, top), &entries, &rows)?;
        for (column, model) in self.models.iter().enumerate() {
            let lines = model.curves.iter().map(|curve| {
                let series = labels.iter().position(|label| *label == curve.label).expect("collected above");
                let mut line = axis.line(series, curve.points.iter().copied());
                if model.curves.len() == 1 {
                    return line;
                }
                if curve.label == WORST {
                    line.stroke = 6;
                    return line;
                }
                // One band, of what is reported; those of all curves would cover each other. Curves that are
                // the same are set apart, so that none hides another.
                line.band.clear();
                line.stroke = 2;
                let (low, high) = axis.range();
                let middle = labels.len() as f64 / 2.0;
                let apart = (high - low) * APART.min(APART_ALL / labels.len() as f64);
                line.points.iter_mut().for_each(|(x, _)| *x += apart * (series as f64 - middle));
                line
            });
            let plot = Plot {
                title: &format!("{} ({} images)", model.name, model.images),
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

impl Figure for AttackCurves {
    fn draw(&self) -> Result<RgbImage, ReportError> {
        Ok(self.paint()?.into_image())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn battery(attacks: usize) -> Battery {
        let device = Device::default();
        let classes = vec!["benign".to_string(), "malignant".to_string()];
        let victim = Frozen::from_fn(2, &device, |x| Tensor::zeros([x.dims()[0], 2], &x.device()));
        let data =
            crate::data::TensorSet::new(Tensor::zeros([2, 1, 2, 2], &device), vec![0, 1], classes).unwrap();
        let attacks = (0..attacks).map(|_| Box::new(Fgsm::new(Epsilon::pixels(8.0))) as Box<dyn Attack>);
        Evaluation::new(&victim).attacks(attacks).check_images(0).battery(&data).unwrap()
    }

    #[test]
    fn text_stays_clear_of_plots_and_other_text() {
        let long = "a model whose name does not end where it should ".repeat(3);
        for attacks in [1, 2, 7, 20] {
            let battery = battery(attacks);
            for models in [vec![("a", &battery)], vec![("original", &battery), (&long, &battery)]] {
                let clashes = AttackCurves::new(Norm::Linf, models).paint().unwrap().clashes();
                assert!(clashes.is_empty(), "{attacks}: {clashes:?}");
            }
        }
    }

    #[test]
    fn refuses_a_norm_without_attacks() {
        let battery = battery(1);
        assert!(AttackCurves::new(Norm::L2, [("a", &battery)]).draw().is_err());
        assert!(AttackCurves::new(Norm::Linf, Vec::<(String, &Battery)>::new()).draw().is_err());
    }
}
