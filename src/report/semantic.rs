//! The section on attacks that no norm bounds.

use super::document::{Document, both, columns, patient_rate};
use super::report::{ModelReport, Report};

const INTRO: &str = "Bounded by the range of a transformation's parameters, which the settings of each attack say, and by \
                     no norm: sizes are as measured, mean (median) over the attacked images. No worst case counts these \
                     attacks, and each ran on every image that is right.";

impl Report {
    /// Right answers of every model under its semantic attacks, with the size of what they changed.
    pub(super) fn semantic(&self, doc: &mut Document) {
        self.models.iter().for_each(|model| of_model(doc, model));
    }
}

fn of_model(doc: &mut Document, ModelReport { name, result, .. }: &ModelReport) {
    let mut head = columns("attack | access | all images");
    head.extend(result.classes.iter().rev().map(|class| format!("{class} only")));
    head.extend(columns("patient rate, resampling slides | attack succeeded"));
    let flips = result.semantic.first().map_or(&[][..], |under| &under.flips);
    head.extend(flips.iter().map(|flip| format!("{} to {}", flip.from, flip.to)));
    head.extend(columns("Linf | L2 | SSIM | right in 8 bits"));
    let rows = result.semantic.iter().map(|under| {
        let mut cells = vec![under.label.clone(), under.profile.access.to_string()];
        cells.push(under.metrics.accuracy.to_string());
        cells.extend(under.metrics.classes.iter().rev().map(|class| class.accuracy.to_string()));
        cells.push(patient_rate(&under.metrics, under.detail.bootstrap.patient_rate));
        cells.push(under.success.to_string());
        cells.extend(under.flips.iter().map(|flip| flip.images.to_string()));
        let p = &under.perturbation;
        cells.extend([(p.linf, 4), (p.l2, 2), (p.ssim, 3)].map(|(size, digits)| both(size, digits)));
        cells.push(under.detail.eight_bit.accuracy.to_string());
        cells
    });
    doc.table(format!("Semantic attacks: {name}"), INTRO, head, rows.collect());
}
