//! What a report says, section by section.

use super::document::{Cell, Document, attacked, auroc, both, columns, named, or_dash, patient_rate, rate};
use super::gate::Judgment;
use super::report::{ModelReport, Report, Versions};
use crate::evaluate::{AttackResult, Detail, Metrics, Proportion, UnderAttack, Verdict};
use crate::pixels::{Budget, Norm};

/// Headings.
pub(super) const READ_FIRST: &str = "Read this first";
pub(super) const SUMMARY: &str = "Summary: right answers";
/// The worst case of several attacks, beside the attacks.
pub(super) const WORST: &str = "worst case of all";

impl Report {
    /// The models in a few lines: accuracy without attack and with every budget, under the only attack of a
    /// norm or the worst case of several, over all images and over each class alone.
    pub fn summary(&self) -> String {
        let mut lines = String::new();
        for ModelReport { name, result, .. } in &self.models {
            let mut line = |which: &str, pick: &dyn Fn(&Metrics) -> Proportion| {
                let right = |metrics: &Metrics| rate(pick(metrics).value);
                lines += &format!("{name}, {which}: {} without attack", right(&result.clean.metrics));
                for worst in &result.worst_cases {
                    let at = |u: &UnderAttack| format!("{} at {}", right(&u.metrics), u.budget.shown());
                    let at: Vec<String> = attacked(&worst.sweep).map(at).collect();
                    if !at.is_empty() {
                        lines += &format!("; under {} {}", named(result, worst), at.join(", "));
                    }
                }
                for semantic in &result.semantic {
                    lines += &format!("; under {} {}", semantic.label, right(&semantic.metrics));
                }
                lines += "\n";
            };
            line("all images", &|m| m.accuracy);
            for (class, name) in result.classes.iter().enumerate().rev() {
                line(&format!("{name} only"), &|m| m.classes[class].accuracy);
            }
        }
        lines
    }

    /// What was evaluated, and how to read the numbers.
    pub(super) fn introduction(&self, doc: &mut Document) {
        doc.paragraph(format!("Images: {}.", self.data.description));
        self.data.notes.iter().for_each(|note| doc.paragraph(note));
        let split = self.data.split.as_ref();
        let split = split.map_or(String::new(), |s| format!("Split {}, seed {}. ", s.method, s.seed));
        let Versions { histoguard, burn } = &self.versions;
        doc.paragraph(format!("{split}histoguard {histoguard}, burn {burn}."));
        doc.paragraph(
            "Intervals are 95 %: Wilson's over images (for balanced accuracy Newcombe's) unless they are \
             said to resample slides. Epsilon is in grey levels out of 255 for Linf, else the norm over the \
             image in [0,1]. Only images that are right without attack are attacked; \"attack succeeded\" \
             counts those alone.",
        );
    }

    /// What was required, if anything was.
    pub(super) fn requirements(&self, doc: &mut Document) {
        let row = |judgment: &Judgment| {
            let Judgment { model, requirement, met, found } = judgment;
            let verdict = if *met { "met".into() } else { Cell::strong("not met") };
            vec![model.as_str().into(), requirement.as_str().into(), verdict, found.as_str().into()]
        };
        let head = columns("model | requirement | verdict | found");
        doc.table("Requirements", "", head, self.requirements.iter().map(row).collect());
    }

    /// Every table of the measurements.
    pub(super) fn measurements(&self, doc: &mut Document) {
        self.norms().into_iter().for_each(|norm| self.accuracy(doc, norm));
        self.models.iter().for_each(|model| worst_cases(doc, model));
        self.semantic(doc);
        self.views(doc);
        self.certifications(doc);
        self.perturbations(doc);
        self.costs(doc);
        self.transfers(doc);
        self.training(doc);
    }

    /// The norms of the attacks, in the order of the models.
    pub(super) fn norms(&self) -> Vec<Norm> {
        let mut norms: Vec<Norm> = Vec::new();
        for worst in self.models.iter().flat_map(|model| &model.result.worst_cases) {
            if !norms.contains(&worst.norm) {
                norms.push(worst.norm);
            }
        }
        norms
    }

    /// Right answers of every model under every attack in this norm.
    fn accuracy(&self, doc: &mut Document, norm: Norm) {
        let worst_cases = self.models.iter().filter_map(|model| model.result.worst_case(norm));
        let mut budgets: Vec<Budget> =
            worst_cases.flat_map(|worst| attacked(&worst.sweep).map(|under| under.budget)).collect();
        budgets.sort_by(Budget::total_cmp);
        budgets.dedup();
        let mut head = columns("model | attack | access | no attack");
        head.extend(budgets.iter().map(|budget| budget.shown()));
        head.push("median smallest".into());
        let mut rows = Vec::new();
        for ModelReport { name, result, .. } in &self.models {
            let mut row = |attack: Cell, access: String, sweep: &[UnderAttack], median: String| {
                let at = |budget| sweep.iter().find(|u| u.budget == budget).map(|u| u.metrics.accuracy);
                let mut cells = vec![name.clone().into(), attack, access.into()];
                cells.push(result.clean.metrics.accuracy.to_string().into());
                cells.extend(budgets.iter().map(|&budget| Cell::from(or_dash(at(budget)))));
                cells.push(median.into());
                rows.push(cells);
            };
            for attack in result.attacks.iter().filter(|attack| attack.profile.norm() == Some(norm)) {
                row(
                    attack.label.as_str().into(),
                    attack.profile.access.to_string(),
                    &attack.sweep,
                    median(attack),
                );
            }
            if let Some(worst) = result.worst_case(norm).filter(|worst| worst.attacks.len() > 1) {
                row(Cell::strong(WORST), String::new(), &worst.sweep, String::new());
            }
        }
        let survivors = match self.models.iter().any(|model| model.result.only_survivors) {
            true => " Each attack ran on what the attacks above it left, and its row counts theirs too.",
            false => "",
        };
        let intro = format!(
            "\"Median smallest\" is the size of the smallest perturbation that breaks half of the attacked \
             images, searched for, or (at most) the smallest epsilon of the table.{survivors}"
        );
        doc.table(format!("Right answers under every attack, {norm}"), &intro, head, rows);
    }

    fn perturbations(&self, doc: &mut Document) {
        let mut rows = Vec::new();
        for ModelReport { name, result, .. } in &self.models {
            let attacks = result.attacks.iter();
            for (attack, under) in attacks.flat_map(|a| attacked(&a.sweep).map(move |under| (a, under))) {
                let p = &under.perturbation;
                let mut cells = vec![name.clone(), attack.label.clone(), under.budget.shown()];
                cells.push(under.success.total.to_string());
                let sizes = [(p.linf, 4), (p.l2, 2), (p.l1, 1), (p.psnr, 1), (p.ssim, 3)];
                cells.extend(sizes.map(|(size, digits)| both(size, digits)));
                cells.push(under.detail.eight_bit.accuracy.to_string());
                rows.push(cells);
            }
        }
        let intro = "Mean (median) over the attacked images, pixels in [0,1]; right answers after rounding \
                     the adversarial image to 8 bits, as a PNG holds it.";
        let head =
            "model | attack | epsilon | attacked | Linf | L2 | L1 | PSNR (dB) | SSIM | right in 8 bits";
        doc.table("Perturbations", intro, columns(head), rows);
    }

    fn costs(&self, doc: &mut Document) {
        let mut rows = Vec::new();
        for ModelReport { name, result, .. } in &self.models {
            let attacks = result.attacks.iter().map(|attack| (&attack.label, attack.images, attack.queries));
            let semantic =
                result.semantic.iter().map(|attack| (&attack.label, attack.images, attack.queries));
            for (position, (label, images, queries)) in attacks.chain(semantic).enumerate() {
                let each = |queries: u64| format!("{:.1}", queries as f64 / images.max(1) as f64);
                let pace = result.timing.attacks.get(position).and_then(|timing| timing.images_per_second);
                let mut cells = vec![name.clone(), label.clone(), images.to_string()];
                cells.extend([queries.forwards, queries.gradients].map(each));
                cells.push(or_dash(pace.map(|pace| format!("{pace:.2}"))));
                rows.push(cells);
            }
        }
        let intro = "An image here is an image with one budget; a search is one for all budgets.";
        let head = "model | attack | images | forwards an image | gradients an image | images a second";
        doc.table("Costs", intro, columns(head), rows);
    }

    fn transfers(&self, doc: &mut Document) {
        for matrix in &self.transfer {
            let budget = matrix.attack.budget();
            let budget = budget.map_or("without a budget".into(), |b| format!("epsilon {}", b.shown()));
            let mut rows = vec![vec!["none".to_string()]];
            rows[0].extend(matrix.clean.iter().map(Proportion::to_string));
            for (name, cells) in matrix.models.iter().zip(&matrix.cells) {
                let cells = cells.iter().map(|cell| cell.accuracy.to_string());
                rows.push(std::iter::once(name.clone()).chain(cells).collect());
            }
            let head = std::iter::once("crafted on".into()).chain(matrix.models.iter().cloned()).collect();
            let norm = matrix.attack.norm().map_or(String::new(), |norm| format!(" {norm}"));
            let heading = format!("Transfer: {}{norm}, {budget}", matrix.attack.name);
            let intro = "Right answers of the model in the column on images crafted on the model in the row.";
            doc.table(heading, intro, head, rows);
        }
    }

    fn training(&self, doc: &mut Document) {
        let mut rows = Vec::new();
        for ModelReport { name, history, .. } in &self.models {
            let Some(history) = history else { continue };
            let last = history.epochs.last();
            let kept = history.best_epoch.or(last.map(|e| e.epoch));
            let mut cells = vec![name.clone(), history.epochs.len().to_string()];
            cells.push(rate(last.and_then(|e| e.train_accuracy)));
            cells.push(rate(last.and_then(|e| e.validation_accuracy)));
            cells.push(rate(last.and_then(|e| e.attacked_accuracy)));
            cells.push(or_dash(kept));
            rows.push(cells);
        }
        let head = "model | epochs | last training accuracy | last validation accuracy | under attack | \
                    weights kept from epoch";
        doc.table("Training", "", columns(head), rows);
    }

    pub(super) fn checks(&self, doc: &mut Document) {
        let Some(first) = self.models.first() else { return };
        let mut rows = Vec::new();
        for (position, check) in first.result.checks.iter().enumerate() {
            for ModelReport { name, result, .. } in &self.models {
                let Some(found) = result.checks.get(position) else { continue };
                let seen = found.seen.as_str().into();
                rows.push(vec![
                    check.name.as_str().into(),
                    name.as_str().into(),
                    verdict(found.verdict),
                    seen,
                ]);
            }
        }
        doc.table("Checks", "", columns("check | model | verdict | what it saw"), rows);
        doc.paragraph("Why they matter:");
        doc.items(first.result.checks.iter().map(|c| format!("{}: {} ({})", c.name, c.matters, c.source)));
    }
}

/// What a check concludes, in words.
pub(super) fn verdict(verdict: Verdict) -> Cell {
    match verdict {
        Verdict::Passed => "passed".into(),
        Verdict::Suspicious => Cell::strong("suspicious"),
        Verdict::NotApplicable => "not applicable".into(),
    }
}

/// The worst cases with every class, slide and flip; without attack, how the model does as it is.
fn worst_cases(doc: &mut Document, ModelReport { name, result, .. }: &ModelReport) {
    let mut sections: Vec<(String, &[UnderAttack])> = Vec::new();
    for worst in &result.worst_cases {
        let heading = match worst.attacks.len() {
            1 => format!("Accuracy over epsilon: {name}, {}", named(result, worst)),
            _ => format!("Worst case: {name}, {}", worst.norm),
        };
        sections.push((heading, &worst.sweep));
    }
    if sections.is_empty() {
        sections.push((format!("Accuracy: {name}, no attack"), &[]));
    }
    for (heading, sweep) in sections {
        let mut head = columns("epsilon | all images | all, resampling slides");
        head.extend(result.classes.iter().rev().map(|class| format!("{class} only")));
        let more = "balanced accuracy | AUROC | patient rate, resampling slides | attack succeeded";
        head.extend(columns(more));
        let flips = sweep.first().map_or(&[][..], |under| &under.flips);
        head.extend(flips.iter().map(|flip| format!("{} to {}", flip.from, flip.to)));
        head.push("right in 8 bits".into());
        let row = |epsilon: String, metrics: &Metrics, detail: &Detail, under: Option<&UnderAttack>| {
            let slides = detail.bootstrap.accuracy;
            let slides = slides.map(|i| format!("[{:.1}, {:.1}]", 100.0 * i.low, 100.0 * i.high));
            let mut cells = vec![epsilon, metrics.accuracy.to_string(), or_dash(slides)];
            cells.extend(metrics.classes.iter().rev().map(|class| class.accuracy.to_string()));
            cells.extend([or_dash(metrics.balanced_accuracy), auroc(metrics)]);
            cells.push(patient_rate(metrics, detail.bootstrap.patient_rate));
            cells.push(or_dash(under.map(|under| under.success)));
            cells.extend((0..flips.len()).map(|flip| or_dash(under.map(|u| u.flips[flip].images))));
            cells.push(detail.eight_bit.accuracy.to_string());
            cells
        };
        let mut rows = vec![row("0 (clean)".into(), &result.clean.metrics, &result.clean.detail, None)];
        let under_attack = |u: &UnderAttack| row(u.budget.shown(), &u.metrics, &u.detail, Some(u));
        rows.extend(attacked(sweep).map(under_attack));
        doc.table(heading, "", head, rows);
    }
}

fn median(attack: &AttackResult) -> String {
    let minimal = &attack.minimal;
    let size = |value: f64| match attack.profile.norm() {
        Some(Norm::Linf) => format!("{:.2}/255", 255.0 * value),
        _ => format!("{value:.3}"),
    };
    match (minimal.median, minimal.searched, minimal.broken.total) {
        (_, _, 0) => "-".into(),
        (None, true, _) => "not found".into(),
        (None, false, _) => "beyond".into(),
        (Some(value), true, _) => size(value),
        (Some(value), false, _) => format!("at most {}", size(value)),
    }
}
