//! Accuracy over epsilon, with intervals, for several models.

use super::axis::{Axis, swept};
use super::canvas::Canvas;
use super::chart::Panels;
use super::figure::Paint;
use crate::evaluate::{EvaluationResult, Metrics};
use crate::pixels::{Budget, Norm};
use crate::report::ReportError;
use crate::report::document::named;

const PLOT: (i32, i32) = (560, 540);

/// Accuracy over epsilon in one norm with Wilson 95 % bands, for several models under their only attack or
/// the worst case of several: all images, and each class alone, the positive one first (with more than two
/// classes, the positive one only).
#[derive(Clone, Debug)]
pub struct AccuracyOverEpsilon<'r> {
    norm: Norm,
    models: Vec<(String, &'r EvaluationResult)>,
}

impl<'r> AccuracyOverEpsilon<'r> {
    /// Models by name, each with its result. The figure is stamped if the images were drawn, not
    /// photographed.
    pub fn new<N: Into<String>>(
        norm: Norm,
        models: impl IntoIterator<Item = (N, &'r EvaluationResult)>,
    ) -> Self {
        Self { norm, models: models.into_iter().map(|(name, r)| (name.into(), r)).collect() }
    }
}

impl Paint for AccuracyOverEpsilon<'_> {
    fn paint(&self) -> Result<Canvas, ReportError> {
        let Some((_, first)) = self.models.first() else {
            return Err(ReportError::refused("models", "at least one", "none"));
        };
        if let Some((_, other)) = self.models.iter().find(|(_, r)| r.classes != first.classes) {
            let found = format!("{:?} and {:?}", first.classes, other.classes);
            return Err(ReportError::refused("models", "the same classes in all of them", found));
        }
        let sweeps = self
            .models
            .iter()
            .map(|(_, r)| swept(self.norm, r, r.worst_case(self.norm).map_or(&[][..], |worst| &worst.sweep)));
        let sweeps: Vec<Vec<(Budget, &Metrics)>> = sweeps.collect();
        let axis = Axis::new(self.norm, sweeps.iter().flatten().map(|(budget, _)| *budget));
        let classes = (0..first.classes.len()).rev().map(Some);
        let panels = std::iter::once(None).chain(classes.take(if first.classes.len() > 2 { 1 } else { 2 }));
        let plots = panels.map(|panel| {
            let pick = |m: &Metrics| panel.map_or(m.accuracy, |class: usize| m.classes[class].accuracy);
            let line = |(series, sweep): (usize, &Vec<(Budget, &Metrics)>)| {
                axis.line(series, sweep.iter().map(|(budget, metrics)| (*budget, pick(metrics))))
            };
            let which = panel.map_or("all images".into(), |c| format!("{} images only", first.classes[c]));
            let images = pick(&first.clean.metrics).total;
            axis.plot(format!("{which} ({images})"), sweeps.iter().enumerate().map(line).collect())
        });
        let worst = self.models.iter().find_map(|(_, r)| Some(named(r, r.worst_case(self.norm)?)));
        let attack = worst.unwrap_or_else(|| "no attack".into());
        Panels {
            title: format!("Accuracy (%) under {attack}, with 95 % Wilson intervals"),
            note: None,
            synthetic: self.models.iter().any(|(_, r)| r.synthetic),
            marked: true,
            entries: self.models.iter().map(|(name, _)| name.clone()).zip(0..).collect(),
            size: PLOT,
            plots: plots.collect(),
        }
        .paint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::TensorSet;
    use crate::prelude::*;
    use crate::report::figures::Figure;

    fn result(levels: &[f64], classes: &[&str]) -> EvaluationResult {
        let device = Device::default();
        let classes: Vec<String> = classes.iter().map(|c| c.to_string()).collect();
        let labels: Vec<usize> = (0..classes.len()).collect();
        let count = classes.len();
        let victim =
            Frozen::from_fn(count, &device, move |x| Tensor::zeros([x.dims()[0], count], &x.device()));
        let data = TensorSet::new(Tensor::zeros([count, 1, 2, 2], &device), labels, classes).unwrap();
        Evaluation::new(&victim)
            .attacks(
                levels.iter().take(1).map(|_| Box::new(Fgsm::new(Budget::pixels(1.0))) as Box<dyn Attack>),
            )
            .budgets(levels.iter().map(|&level| Budget::pixels(level)))
            .check_images(0)
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
                let results = [result(levels, classes), result(&[], classes)];
                let models = [(long.as_str(), &results[0]), ("b", &results[1])];
                let clashes = AccuracyOverEpsilon::new(Norm::Linf, models).paint().unwrap().clashes();
                assert!(clashes.is_empty(), "{levels:?}: {clashes:?}");
            }
        }
    }

    #[test]
    fn refuses_models_of_different_classes() {
        let results = [result(&[], &["x", "y"]), result(&[], &["x", "z"])];
        let models = [("a", &results[0]), ("b", &results[1])];
        assert!(AccuracyOverEpsilon::new(Norm::Linf, models).draw().is_err());
        assert!(
            AccuracyOverEpsilon::new(Norm::Linf, Vec::<(String, &EvaluationResult)>::new()).draw().is_err()
        );
    }
}
