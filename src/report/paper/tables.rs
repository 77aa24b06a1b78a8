//! The paper's Tables 1 to 3, beside its own numbers.

use std::path::Path;

use super::numbers::PAPER;
use crate::evaluate::{Metrics, Proportion, UnderAttack, WorstCase};
use crate::pixels::{Budget, Norm};
use crate::report::document::{Document, attacked, auroc, columns, or_dash, patient_rate};
use crate::report::report::Rendered;
use crate::report::{ModelReport, Report, ReportError, ReportFiles};

/// A [`Report`] as the paper's experiment: its first two models, the original and the defense, under one
/// L-infinity attack, with the malignant images alone as the measure.
#[derive(Clone, Copy, Debug)]
pub struct PaperView<'r> {
    report: &'r Report,
    models: [&'r ModelReport; 2],
}

impl<'r> PaperView<'r> {
    /// The report's first two models.
    ///
    /// # Panics
    ///
    /// Panics if there are fewer.
    pub fn new(report: &'r Report) -> Self {
        Self { report, models: [&report.models[0], &report.models[1]] }
    }

    /// The warnings of the report, and what the paper's measure hides.
    pub fn warnings(&self) -> Vec<String> {
        self.report.warnings().into_iter().chain(self.hollow_lead()).collect()
    }

    /// The report as Markdown, with the paper's Tables 1 to 3 beside the paper's numbers after the summary.
    pub fn to_markdown(&self) -> String {
        self.report.markdown(&self.warnings(), |doc| self.tables(doc))
    }

    /// The report as one page, with the paper's tables as in Markdown.
    pub fn to_html(&self) -> String {
        self.report.html(&self.warnings(), |doc| self.tables(doc))
    }

    /// Writes `report.json`, `report.md` and `report.html` as [`Report::write`] does.
    ///
    /// # Errors
    ///
    /// As [`Report::write`].
    pub fn write(&self, folder: &Path) -> Result<ReportFiles, ReportError> {
        let (warnings, markdown, html) = (self.warnings(), self.to_markdown(), self.to_html());
        self.report.write_as(folder, Rendered { warnings, markdown, html })
    }

    fn tables(&self, doc: &mut Document) {
        self.table1(doc);
        self.table2(doc);
        self.table3(doc);
    }

    fn worst(&self, model: usize) -> Option<&'r WorstCase> {
        self.models[model].result.worst_case(Norm::Linf)
    }

    /// A model with every budget above zero.
    fn sweep(&self, model: usize) -> impl Iterator<Item = &'r UnderAttack> {
        attacked(self.worst(model).map_or(&[][..], |worst| &worst.sweep))
    }

    fn at(&self, model: usize, budget: Budget) -> Option<&'r Metrics> {
        self.sweep(model).find(|under| under.budget == budget).map(|under| &under.metrics)
    }

    fn table1(&self, doc: &mut Document) {
        let Some(split) = &self.report.data.split else { return };
        let sides = [&split.train, &split.validation, &split.test];
        let classes = self.models[0].result.classes.iter().enumerate();
        let ours = classes
            .map(|(class, name)| (name.clone(), sides.map(|counts| counts.get(class).copied().unwrap_or(0))));
        let theirs = [("paper: benign", PAPER.benign), ("paper: malignant", PAPER.malignant)];
        let theirs = theirs.map(|(name, of)| (name.to_string(), [of.train, of.validation, of.test]));
        let row = |(name, counts): (String, [usize; 3])| {
            let counts = counts.into_iter().chain([counts.iter().sum()]);
            std::iter::once(name).chain(counts.map(|count| count.to_string())).collect()
        };
        let head = columns(" | training | validation | test | sum");
        doc.table("Table 1: images", "", head, ours.chain(theirs).map(row).collect());
    }

    fn table2(&self, doc: &mut Document) {
        let row = |(model, paper): (&ModelReport, Proportion)| {
            let clean = &model.result.clean.metrics;
            let mut cells = vec![model.name.clone(), clean.accuracy.to_string(), published(paper)];
            cells.push(or_dash(clean.balanced_accuracy));
            cells.extend([clean.sensitivity, clean.specificity].map(or_dash));
            cells.extend([auroc(clean), patient_rate(clean, None)]);
            cells
        };
        let head =
            "model | this run | paper | balanced accuracy | sensitivity | specificity | AUROC | patient rate";
        doc.table(
            "Table 2: accuracy on the whole test set, without attack",
            &format!(
                "The paper is Li & Liu, Bioengineering 2023, 10, 973; it trained for {} epochs.",
                PAPER.epochs
            ),
            columns(head),
            self.models.into_iter().zip(PAPER.table2()).map(row).collect(),
        );
    }

    fn table3(&self, doc: &mut Document) {
        let [clean, fgsm] = PAPER.table3();
        let of = |m: Option<&Metrics>| or_dash(m.and_then(positive));
        let mut rows: Vec<(String, [String; 2])> = vec![
            ("paper: no attack".into(), clean.map(published)),
            ("paper: FGSM, epsilon not stated".into(), fgsm.map(published)),
            ("no attack".into(), self.models.map(|m| of(Some(&m.result.clean.metrics)))),
        ];
        let attack = self.worst(0).map_or("attack".into(), |worst| worst.attacks.join(", "));
        rows.extend(self.sweep(0).map(|under| {
            let name = format!("{attack}, epsilon {}", under.budget.shown());
            (name, [0, 1].map(|model| of(self.at(model, under.budget))))
        }));
        let rows = rows.into_iter().map(|(name, [original, defense])| vec![name, original, defense]);
        let class = self.models[0].result.classes.last().cloned().unwrap_or_default();
        let head = vec![String::new(), self.models[0].name.clone(), self.models[1].name.clone()];
        doc.table(format!("Table 3: {class} test images only"), "", head, rows.collect());
        let target = fgsm[0].value.unwrap_or(0.0);
        let distance = |p: Proportion| (p.value.unwrap_or(f64::INFINITY) - target).abs();
        let accuracies = self.sweep(0).filter_map(|under| Some((under.budget, positive(&under.metrics)?)));
        if let Some((budget, accuracy)) = accuracies.min_by(|a, b| distance(a.1).total_cmp(&distance(b.1))) {
            doc.paragraph(format!(
                "The epsilon at which the original model comes closest to the paper's {:.2} % is {}, with \
                 {accuracy}.",
                100.0 * target,
                budget.shown()
            ));
        }
    }

    /// The paper's measure favours the defense while it is no better over both classes.
    fn hollow_lead(&self) -> Option<String> {
        let leads = |under: &&UnderAttack| {
            let (ours, theirs) = (&under.metrics, self.at(0, under.budget)?);
            let balanced = |m: &Metrics| Some(m.balanced_accuracy?.value);
            let leads = positive(ours)?.value? > positive(theirs)?.value?;
            Some(leads && balanced(ours)? <= balanced(theirs)?)
        };
        let hollow = self.sweep(1).filter(|under| leads(under) == Some(true));
        let budgets: Vec<String> = hollow.map(|under| under.budget.shown()).collect();
        let class = self.models[1].result.classes.last()?;
        (!budgets.is_empty()).then(|| {
            format!(
                "At epsilon {}, {} leads {} on the {class} images alone but not in balanced accuracy: there, \
                 the lead comes from calling more images {class}.",
                budgets.join(", "),
                self.models[1].name,
                self.models[0].name
            )
        })
    }
}

/// Over the images of the positive class alone.
fn positive(metrics: &Metrics) -> Option<Proportion> {
    metrics.classes.last().map(|class| class.accuracy)
}

/// With the two decimals that the paper prints.
fn published(proportion: Proportion) -> String {
    let Proportion { hits, total, .. } = proportion;
    format!("{:.2} % ({hits}/{total})", 100.0 * hits as f64 / total as f64)
}
