//! What is proven: certified accuracy over the radius, as Markdown.

use super::document::{Document, columns, or_dash};
use super::report::{ModelReport, Report};
use crate::defense::smoothing::{CertifiedCurve, Radius, Smoothing};
use crate::evaluate::CertificationResult;

/// Radii of the table, in parts of sigma.
const STEP: f64 = 0.5;
/// Slides of the table: those with the lowest certified accuracy.
const WEAKEST: usize = 3;

impl Report {
    pub(super) fn certifications(&self, doc: &mut Document) {
        for ModelReport { name, certification, .. } in &self.models {
            if let Some(result) = certification {
                certified(doc, name, result);
            }
        }
    }
}

fn certified(doc: &mut Document, name: &str, result: &CertificationResult) {
    let CertificationResult { accuracy, values, .. } = result;
    let Smoothing { sigma, alpha, selection_draws, draws, .. } = accuracy.settings;
    let radii: Vec<Radius> = (0..)
        .map(|step| Radius::new(STEP * sigma * f64::from(step), *values))
        .take_while(|radius| radius.size() <= accuracy.largest_radius.size())
        .collect();
    let mut head = columns("images | smoothed | abstained | mean radius");
    head.extend(radii.iter().map(|radius| format!("within {radius}")));
    let row = |name: &str, curve: &CertifiedCurve| {
        let mut cells = vec![name.to_string(), curve.smoothed.to_string(), curve.abstained.to_string()];
        cells.push(or_dash(curve.mean_radius.map(|radius| radius.l2)));
        cells.extend(radii.iter().map(|radius| curve.at(radius.size()).to_string()));
        cells
    };
    let mut slides: Vec<_> = accuracy.groups.iter().collect();
    let share = |curve: &CertifiedCurve| curve.at(0.0).value.unwrap_or(1.0);
    slides.sort_by(|a, b| share(&a.curve).total_cmp(&share(&b.curve)));
    let slides = slides.into_iter().take(WEAKEST);
    let mut rows = vec![row("all", &accuracy.all)];
    rows.extend(accuracy.classes.iter().map(|class| row(&class.name, &class.curve)));
    rows.extend(slides.map(|slide| row(&format!("among the weakest slides: {}", slide.name), &slide.curve)));
    let grey_level = Radius::new((*values as f64).sqrt() / 255.0, *values);
    let intro = format!(
        "Right answers that no change within the radius can alter, smoothed over normal noise of sigma {sigma}; {selection_draws} \
         draws choose the class and {draws} others bound its probability, so that each certificate is wrong with a \
         probability of at most {alpha}. Abstaining is an error. The radius is an L2 one: beside each stands the Linf \
         budget that it contains. Do not compare it with the tables of Linf attacks: one grey level in every pixel is {} in \
         L2, and with these settings no image can be certified beyond {}.",
        grey_level.l2, accuracy.largest_radius
    );
    doc.table(format!("Proven by randomized smoothing: {name}"), &intro, head, rows);
}
