//! Accuracy over epsilon under every attack.

use super::axis::{Axis, swept};
use super::canvas::Canvas;
use super::chart::{Line, Panels};
use super::figure::Paint;
use crate::evaluate::{EvaluationResult, Metrics};
use crate::pixels::{Budget, Norm};
use crate::report::ReportError;
use crate::report::sections::WORST;

const PLOT: (i32, i32) = (620, 560);
/// How far curves are set apart, and all of them together, as shares of the axis.
const APART: f64 = 0.009;
const APART_ALL: f64 = 0.07;

/// Accuracy over epsilon in one norm: a panel a model, a curve an attack, and the worst case of all with its
/// Wilson 95 % band.
#[derive(Clone, Debug)]
pub struct AttackCurves<'r> {
    norm: Norm,
    models: Vec<(String, &'r EvaluationResult)>,
}

/// A label and the metrics at every budget.
type Curve<'r> = (&'r str, Vec<(Budget, &'r Metrics)>);

impl<'r> AttackCurves<'r> {
    /// Models by name, each with its result; attacks in other norms are left out. The figure is stamped if
    /// the images were drawn, not photographed.
    pub fn new<N: Into<String>>(
        norm: Norm,
        models: impl IntoIterator<Item = (N, &'r EvaluationResult)>,
    ) -> Self {
        Self { norm, models: models.into_iter().map(|(name, r)| (name.into(), r)).collect() }
    }

    /// The worst case of several attacks, then the attacks.
    fn curves(&self, result: &'r EvaluationResult) -> Vec<Curve<'r>> {
        let worst = result.worst_case(self.norm).filter(|worst| worst.attacks.len() > 1);
        let worst = worst.map(|worst| (WORST, &worst.sweep));
        let attacks = result.attacks.iter().filter(|attack| attack.profile.norm() == Some(self.norm));
        let attacks = attacks.map(|attack| (attack.label.as_str(), &attack.sweep));
        let all = worst.into_iter().chain(attacks);
        all.map(|(label, sweep)| (label, swept(self.norm, result, sweep))).collect()
    }
}

impl Paint for AttackCurves<'_> {
    fn paint(&self) -> Result<Canvas, ReportError> {
        let models: Vec<Vec<Curve<'_>>> = self.models.iter().map(|(_, r)| self.curves(r)).collect();
        let mut labels: Vec<&str> = Vec::new();
        for (label, _) in models.iter().flatten() {
            if !labels.contains(label) {
                labels.push(label);
            }
        }
        if labels.is_empty() {
            let found = format!("none in {}", self.norm);
            return Err(ReportError::refused("models", "at least one with an attack in this norm", found));
        }
        let points = models.iter().flatten().flat_map(|(_, points)| points);
        let axis = Axis::new(self.norm, points.map(|(budget, _)| *budget));
        let line = |(label, points): &Curve<'_>, alone: bool| {
            let series = labels.iter().position(|other| other == label).expect("collected above");
            let line = axis.line(series, points.iter().map(|(budget, m)| (*budget, m.accuracy)));
            match (alone, *label) {
                (true, _) => line,
                (_, WORST) => Line { stroke: 6, ..line },
                _ => set_apart(line, axis.range(), labels.len()),
            }
        };
        let plots = self.models.iter().zip(&models).map(|((name, result), curves)| {
            let lines = curves.iter().map(|curve| line(curve, curves.len() == 1)).collect();
            axis.plot(format!("{name} ({} images)", result.records.len()), lines)
        });
        Panels {
            title: format!("Accuracy (%) over epsilon, {}", self.norm),
            note: Some(match labels.contains(&WORST) {
                true => "worst case with 95 % band, attacks set apart sideways",
                false => "with 95 % Wilson band",
            }),
            synthetic: self.models.iter().any(|(_, result)| result.synthetic),
            marked: true,
            entries: labels.iter().map(|label| label.to_string()).zip(0..).collect(),
            size: PLOT,
            plots: plots.collect(),
        }
        .paint()
    }
}

/// One of several curves: thin and beside the others, so that those that are the same do not hide each other,
/// and without a band, as those of all would cover each other.
fn set_apart(mut line: Line, (low, high): (f64, f64), curves: usize) -> Line {
    let apart = (high - low) * APART.min(APART_ALL / curves as f64);
    let aside = apart * (line.series as f64 - curves as f64 / 2.0);
    line.points.iter_mut().for_each(|(x, _)| *x += aside);
    Line { band: Vec::new(), stroke: 2, ..line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;
    use crate::report::figures::Figure;

    fn result(attacks: usize) -> EvaluationResult {
        let device = Device::default();
        let classes = vec!["benign".to_string(), "malignant".to_string()];
        let victim = Frozen::from_fn(2, &device, |x| Tensor::zeros([x.dims()[0], 2], &x.device()));
        let data =
            crate::data::TensorSet::new(Tensor::zeros([2, 1, 2, 2], &device), vec![0, 1], classes).unwrap();
        let attacks = (0..attacks).map(|_| Box::new(Fgsm::new(Budget::pixels(8.0))) as Box<dyn Attack>);
        Evaluation::new(&victim).attacks(attacks).check_images(0).run(&data).unwrap()
    }

    #[test]
    fn text_stays_clear_of_plots_and_other_text() {
        let long = "a model whose name does not end where it should ".repeat(3);
        for attacks in [1, 2, 7, 20] {
            let result = result(attacks);
            for models in [vec![("a", &result)], vec![("original", &result), (&long, &result)]] {
                let clashes = AttackCurves::new(Norm::Linf, models).paint().unwrap().clashes();
                assert!(clashes.is_empty(), "{attacks}: {clashes:?}");
            }
        }
    }

    #[test]
    fn refuses_a_norm_without_attacks() {
        let result = result(1);
        assert!(AttackCurves::new(Norm::L2, [("a", &result)]).draw().is_err());
        assert!(AttackCurves::new(Norm::Linf, Vec::<(String, &EvaluationResult)>::new()).draw().is_err());
    }
}
