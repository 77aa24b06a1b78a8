//! Certified accuracy over the radius.

use super::canvas::Canvas;
use super::chart::{Line, Panels, Plot};
use super::figure::Paint;
use crate::defense::smoothing::CertifiedCurve;
use crate::evaluate::CertificationResult;
use crate::report::ReportError;

const PLOT: (i32, i32) = (620, 560);
/// The axis goes a little beyond the largest radius, so that the fall there is seen.
const ROOM: f64 = 1.03;
/// Ticks of the radius, in parts of sigma.
const TICK: f64 = 0.5;

/// Certified accuracy over the L2 radius: a panel a model, a staircase for all images with its Wilson 95 % band, and one for
/// each class.
#[derive(Clone, Debug)]
pub struct CertifiedCurves<'r> {
    models: Vec<(String, &'r CertificationResult)>,
}

impl<'r> CertifiedCurves<'r> {
    /// Models by name, each with what is certified of it. The figure is stamped if the images were drawn, not photographed.
    pub fn new<N: Into<String>>(models: impl IntoIterator<Item = (N, &'r CertificationResult)>) -> Self {
        Self { models: models.into_iter().map(|(name, result)| (name.into(), result)).collect() }
    }
}

impl Paint for CertifiedCurves<'_> {
    fn paint(&self) -> Result<Canvas, ReportError> {
        let Some((_, first)) = self.models.first() else {
            return Err(ReportError::refused("models", "at least one that is certified", "none"));
        };
        let mut entries = vec![("all images".to_string(), 0)];
        entries.extend(first.accuracy.classes.iter().map(|class| class.name.clone()).zip(1..));
        let plots = self.models.iter().map(|(name, result)| {
            let (accuracy, sigma) = (&result.accuracy, result.accuracy.settings.sigma);
            let end = accuracy.largest_radius.size();
            let all = Line { stroke: 5, ..staircase(&accuracy.all, 0, end) };
            let classes = accuracy.classes.iter().zip(1..);
            let classes = classes
                .map(|(class, series)| Line { band: Vec::new(), ..staircase(&class.curve, series, end) });
            let ticks = (0..).map(|step| TICK * sigma * f64::from(step)).take_while(|&at| at <= end);
            Plot {
                title: format!("{name} ({} images, sigma {sigma})", result.images.len()),
                x_label: "L2 radius".into(),
                x_range: (0.0, ROOM * end),
                x_ticks: ticks.map(|at| (at, tick_label(at))).collect(),
                lines: std::iter::once(all).chain(classes).collect(),
            }
        });
        Panels {
            title: "Certified accuracy (%) over the radius".into(),
            note: Some("all images with 95 % Wilson band; an abstention is an error"),
            synthetic: self.models.iter().any(|(_, result)| result.synthetic),
            marked: false,
            entries,
            size: PLOT,
            plots: plots.collect(),
        }
        .paint()
    }
}

/// At most three digits after the point, none of them a zero at the end.
fn tick_label(at: f64) -> String {
    ((1000.0 * at).round() / 1000.0).to_string()
}

/// Accuracy at a radius holds for everything up to it from the radius before; beyond the last one nothing is certified.
fn staircase(curve: &CertifiedCurve, series: usize, end: f64) -> Line {
    let (mut points, mut band, mut from) = (Vec::new(), Vec::new(), 0.0);
    for point in &curve.points {
        let (to, accuracy) = (point.radius.size(), point.accuracy);
        let value = 100.0 * accuracy.value.unwrap_or(0.0);
        points.extend([(from, value), (to, value)]);
        if let Some(interval) = accuracy.interval {
            let [low, high] = [interval.low, interval.high].map(|bound| 100.0 * bound);
            band.extend([(from, low, high), (to, low, high)]);
        }
        from = to;
    }
    points.extend([(from, 0.0), (end, 0.0)]);
    Line { points, band, series, stroke: 3 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;
    use crate::report::figures::Figure;

    fn result(classes: usize) -> CertificationResult {
        let device = Device::default();
        let names = (0..classes).map(|class| format!("a class with a longer name {class}")).collect();
        // Class 0 as far as an image is darker than 1/2.
        let base = Frozen::from_fn(classes, &device, move |x| {
            let dark = 0.5 - x.clone().mean_dims(&[1, 2, 3]).reshape([-1, 1]);
            Tensor::cat(vec![dark, Tensor::zeros([x.dims()[0], classes - 1], &x.device())], 1)
        });
        let images = Tensor::<1>::from_floats([0.1, 0.3, 0.45, 0.9], &device).reshape([4, 1, 1, 1]);
        let data = TensorSet::new(images, vec![0, 0, 0, 1], names).unwrap();
        Certification::new(&base, Smoothing::new(0.25).with_draws(100)).run(&data).unwrap()
    }

    #[test]
    fn text_stays_clear_of_plots_and_other_text() {
        for classes in [2, 6] {
            let (result, long) = (result(classes), "a smoothed model with a long name ".repeat(4));
            for models in [vec![("a", &result)], vec![("smoothed", &result), (&long, &result)]] {
                let clashes = CertifiedCurves::new(models).paint().unwrap().clashes();
                assert!(clashes.is_empty(), "{classes}: {clashes:?}");
            }
        }
    }

    #[test]
    fn a_staircase_falls_behind_each_certified_radius() {
        let result = result(2);
        let curve = &result.accuracy.all;
        let line = staircase(curve, 0, result.accuracy.largest_radius.size());
        for point in &curve.points {
            let radius = point.radius.size();
            let at: Vec<f64> = line.points.iter().filter(|p| p.0 == radius).map(|p| p.1).collect();
            assert!(at.contains(&(100.0 * point.accuracy.value.unwrap())), "{point}: {at:?}");
        }
        assert!(line.points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 >= b.1), "{:?}", line.points);
    }

    #[test]
    fn refuses_no_models() {
        assert!(CertifiedCurves::new(Vec::<(String, &CertificationResult)>::new()).draw().is_err());
    }
}
