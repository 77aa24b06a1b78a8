//! Requirements, and whether a report meets them.

use super::error::GateError;
use super::judgment::Judgment;
use super::measure::Offer;
use super::requirement::Requirement;
use crate::evaluate::Evaluation;
use crate::report::report::{ModelReport, Report};

/// Requirements that every model of a report is held to.
///
/// ```
/// use histoguard::data::TensorSet;
/// use histoguard::prelude::*;
/// use histoguard::report::{DataSummary, Gate, ModelReport, Report};
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let images = Tensor::<1>::from_floats([0.2, 0.45, 0.6, 0.9], &device).reshape([4, 1, 1, 1]);
/// let data = TensorSet::new(images, vec![0, 0, 1, 1], vec!["dark".into(), "bright".into()])?;
/// let gate = Gate::new(["clean >= 0.9".parse()?, "worst dark Linf 51/255 >= 0.6".parse()?]);
///
/// let evaluation = Evaluation::new(&victim).attack(Fgsm::new(Budget::pixels(51.0)));
/// gate.check(&evaluation, data.classes())?;
/// let models = vec![ModelReport::new("brightness", evaluation.run(&data)?)];
/// let mut report = Report { models, ..Report::new("Four plain images", DataSummary::of("four plain images")) };
/// report.requirements = gate.judge(&report);
/// let met: Vec<bool> = report.requirements.iter().map(|judgment| judgment.met).collect();
/// assert_eq!((met, report.meets_requirements()), (vec![true, false], false));
/// assert_eq!(report.requirements[1].found, "50.0 % [9.5, 90.5] (1/2)");
/// # use histoguard::data::LabeledImages;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gate {
    requirements: Vec<Requirement>,
}

impl Gate {
    /// Of these requirements.
    pub fn new(requirements: impl IntoIterator<Item = Requirement>) -> Self {
        Self { requirements: requirements.into_iter().collect() }
    }

    /// Refuses, before any work, a requirement that this evaluation of images of these classes cannot answer:
    /// of an attack, a budget or a class that is not in it.
    ///
    /// # Errors
    ///
    /// [`GateError`], which says what there is.
    pub fn check(&self, evaluation: &Evaluation<'_>, classes: &[String]) -> Result<(), GateError> {
        let planned = evaluation.planned()?;
        let attacks = planned.iter().map(|(label, budgets)| (label.as_str(), budgets.clone())).collect();
        let semantic = evaluation.planned_semantic()?;
        let semantic = semantic.iter().map(String::as_str).collect();
        let offer = Offer { classes, attacks, semantic };
        self.requirements.iter().try_for_each(|requirement| requirement.check(&offer))
    }

    /// Every requirement for every model of the report. What was not measured, or on no image, is not met;
    /// nor is anything without a model.
    pub fn judge(&self, report: &Report) -> Vec<Judgment> {
        let judgment = |model: &str, requirement: &Requirement, (met, found): (bool, String)| Judgment {
            model: model.into(),
            requirement: requirement.to_string(),
            met,
            found,
        };
        if report.models.is_empty() {
            let missing = |requirement| judgment("no model", requirement, (false, "not measured".into()));
            return self.requirements.iter().map(missing).collect();
        }
        let of_model = |ModelReport { name, result, .. }: &ModelReport| -> Vec<Judgment> {
            let each = self.requirements.iter();
            each.map(|requirement| judgment(name, requirement, requirement.judge(result))).collect()
        };
        report.models.iter().flat_map(of_model).collect()
    }
}
