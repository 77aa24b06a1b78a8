//! The report as Markdown, beside the paper's numbers.

use std::fmt::{self, Write};

use super::{ModelReport, PAPER, PaperReport};
use crate::evaluate::{ClassMetrics, Metrics, Proportion, Summary};

impl PaperReport {
    /// Both models in a few lines: accuracy without attack and at every epsilon, over all images and over
    /// each class alone.
    pub fn summary(&self) -> String {
        let rate = |p: Proportion| p.value.map_or_else(none, |v| format!("{:.1} %", 100.0 * v));
        let mut out = String::new();
        for model in [&self.original, &self.defence] {
            let robustness = &model.robustness;
            let line = |name: &str, pick: &dyn Fn(&Metrics) -> Proportion| {
                let attacked: Vec<String> = robustness
                    .sweep
                    .iter()
                    .filter(|u| u.epsilon.value() > 0.0)
                    .map(|u| format!("{} at {}", rate(pick(&u.metrics)), u.epsilon))
                    .collect();
                let attack = robustness.attack.as_deref().unwrap_or("attack");
                let under = if attacked.is_empty() { String::new() } else { format!("; under {attack} ") };
                let clean = rate(pick(&robustness.clean));
                format!("{}, {name}: {clean} without attack{under}{}\n", model.name, attacked.join(", "))
            };
            out += &line("all images", &|m| m.accuracy);
            for (class, name) in robustness.classes.iter().enumerate().rev() {
                out += &line(&format!("{name} only"), &|m| m.classes[class].accuracy);
            }
        }
        out
    }

    /// The report as Markdown: warnings, the paper's Tables 1 to 3 beside the paper's numbers, and both
    /// models over every epsilon.
    pub fn to_markdown(&self) -> String {
        let mut out = String::new();
        self.write_markdown(&mut out).expect("a String takes every text");
        out
    }

    fn write_markdown(&self, out: &mut String) -> fmt::Result {
        let versions = &self.versions;
        writeln!(out, "# Attack and defence in breast-histology classification\n")?;
        writeln!(out, "Images: {}.", cell(&self.data.description))?;
        for note in &self.data.notes {
            writeln!(out, "{}", cell(note))?;
        }
        writeln!(
            out,
            "Split {}, seed {}. histoguard {}, burn {}.",
            cell(&self.data.split.method),
            self.seed,
            versions.histoguard,
            versions.burn
        )?;
        writeln!(
            out,
            "The paper is Li & Liu, Bioengineering 2023, 10, 973. Intervals are 95 % (Wilson; for balanced \
             accuracy Newcombe). Epsilon is in grey levels out of 255.\n"
        )?;
        let warnings = self.warnings();
        if !warnings.is_empty() {
            writeln!(out, "## Read this first\n")?;
            for warning in &warnings {
                writeln!(out, "- {}", cell(warning))?;
            }
            writeln!(out)?;
        }
        writeln!(out, "## Summary: right answers\n")?;
        for line in self.summary().lines() {
            writeln!(out, "- {}", cell(line))?;
        }
        writeln!(out)?;
        self.write_table1(out)?;
        self.write_table2(out)?;
        self.write_table3(out)?;
        for model in [&self.original, &self.defence] {
            write_sweep(out, model)?;
        }
        for model in [&self.original, &self.defence] {
            write_perturbations(out, model)?;
        }
        self.write_training(out)
    }

    fn write_table1(&self, out: &mut String) -> fmt::Result {
        let split = &self.data.split;
        writeln!(out, "## Table 1: images\n")?;
        writeln!(out, "| | training | validation | test | sum |\n| --- | --- | --- | --- | --- |")?;
        let mut row = |name: &str, [train, validation, test]: [usize; 3]| {
            let sum = train + validation + test;
            writeln!(out, "| {} | {train} | {validation} | {test} | {sum} |", cell(name))
        };
        let at = |counts: &[usize], class: usize| counts.get(class).copied().unwrap_or(0);
        for (class, name) in self.data.classes.iter().enumerate() {
            row(name, [&split.train, &split.validation, &split.test].map(|counts| at(counts, class)))?;
        }
        for (name, paper) in [("paper: benign", PAPER.benign), ("paper: malignant", PAPER.malignant)] {
            row(name, [paper.train, paper.validation, paper.test])?;
        }
        writeln!(out)
    }

    fn write_table2(&self, out: &mut String) -> fmt::Result {
        let paper = PAPER.table2();
        writeln!(out, "## Table 2: accuracy on the whole test set, without attack\n")?;
        writeln!(
            out,
            "| model | this run | paper | balanced accuracy | sensitivity | specificity | AUROC | patient rate |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |"
        )?;
        for (model, paper) in [&self.original, &self.defence].into_iter().zip(paper) {
            let clean = &model.robustness.clean;
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                cell(&model.name),
                clean.accuracy,
                published(paper),
                balanced(clean),
                optional(clean.sensitivity),
                optional(clean.specificity),
                clean.auroc.map_or_else(none, |a| format!("{a:.3}")),
                clean.patient_rate.map_or_else(none, |r| format!(
                    "{:.1} % ({} slides)",
                    100.0 * r,
                    clean.groups
                )),
            )?;
        }
        writeln!(out)
    }

    fn write_table3(&self, out: &mut String) -> fmt::Result {
        let [clean, fgsm] = PAPER.table3();
        let models = [&self.original, &self.defence];
        let positive = models[0].robustness.classes.last().cloned().unwrap_or_default();
        writeln!(out, "## Table 3: {} test images only\n", cell(&positive))?;
        writeln!(out, "| | {} | {} |\n| --- | --- | --- |", cell(&models[0].name), cell(&models[1].name))?;
        let mut row =
            |name: String, values: [String; 2]| writeln!(out, "| {name} | {} | {} |", values[0], values[1]);
        let of = |metrics: Option<&Metrics>| {
            metrics.and_then(|m| m.classes.last()).map_or_else(none, |class| class.accuracy.to_string())
        };
        row("paper: no attack".into(), clean.map(published))?;
        row("paper: FGSM, epsilon not stated".into(), fgsm.map(published))?;
        row("no attack".into(), models.map(|m| of(Some(&m.robustness.clean))))?;
        for under in models[0].robustness.sweep.iter().filter(|u| u.epsilon.value() > 0.0) {
            let attack = models[0].robustness.attack.as_deref().unwrap_or("attack");
            let at = models.map(|m| of(m.robustness.at(under.epsilon).map(|u| &u.metrics)));
            row(format!("{attack}, epsilon {}", under.epsilon), at)?;
        }
        writeln!(out)?;
        let target = fgsm[0].value.unwrap_or(0.0);
        let distance = |p: Proportion| (p.value.unwrap_or(f64::INFINITY) - target).abs();
        let nearest = models[0]
            .robustness
            .sweep
            .iter()
            .filter(|u| u.epsilon.value() > 0.0)
            .filter_map(|u| Some((u.epsilon, u.metrics.classes.last()?.accuracy)))
            .min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)));
        if let Some((epsilon, accuracy)) = nearest {
            writeln!(
                out,
                "The epsilon at which the original model comes closest to the paper's {:.2} % is {epsilon}, with \
                 {accuracy}.\n",
                100.0 * target
            )?;
        }
        Ok(())
    }

    fn write_training(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "## Training\n")?;
        writeln!(
            out,
            "| model | epochs (paper: {}) | last training accuracy | last validation accuracy | weights kept from epoch |\n\
             | --- | --- | --- | --- | --- |",
            PAPER.epochs
        )?;
        for model in [&self.original, &self.defence] {
            let history = &model.history;
            let last = history.epochs.last();
            let rate = |value: Option<f64>| value.map_or_else(none, |v| format!("{:.1} %", 100.0 * v));
            writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                cell(&model.name),
                history.epochs.len(),
                rate(last.and_then(|e| e.train_accuracy)),
                rate(last.and_then(|e| e.validation_accuracy)),
                history.best_epoch.or(last.map(|e| e.epoch)).map_or_else(none, |e| e.to_string()),
            )?;
        }
        Ok(())
    }
}

fn write_sweep(out: &mut String, model: &ModelReport) -> fmt::Result {
    let robustness = &model.robustness;
    let attack = robustness.attack.as_deref().unwrap_or("no attack");
    writeln!(out, "## Accuracy over epsilon: {}, {attack}\n", cell(&model.name))?;
    write!(out, "| epsilon | all images |")?;
    for class in robustness.classes.iter().rev() {
        write!(out, " {} only |", cell(class))?;
    }
    writeln!(out, " balanced accuracy | AUROC | attack succeeded |")?;
    writeln!(out, "| --- | --- |{} --- | --- | --- |", " --- |".repeat(robustness.classes.len()))?;
    let mut row = |epsilon: &str, metrics: &Metrics, success: Option<Proportion>| {
        let classes: String =
            metrics.classes.iter().rev().map(|c: &ClassMetrics| format!(" {} |", c.accuracy)).collect();
        let auroc = metrics.auroc.map_or_else(none, |a| format!("{a:.3}"));
        let (accuracy, balanced, success) = (metrics.accuracy, balanced(metrics), optional(success));
        writeln!(out, "| {epsilon} | {accuracy} |{classes} {balanced} | {auroc} | {success} |")
    };
    row("0 (clean)", &robustness.clean, None)?;
    for under in robustness.sweep.iter().filter(|u| u.epsilon.value() > 0.0) {
        row(&under.epsilon.to_string(), &under.metrics, Some(under.success))?;
    }
    writeln!(
        out,
        "\nOnly images that are right without attack are attacked; \"attack succeeded\" counts those alone.\n"
    )
}

fn write_perturbations(out: &mut String, model: &ModelReport) -> fmt::Result {
    let sweep: Vec<_> = model.robustness.sweep.iter().filter(|u| u.epsilon.value() > 0.0).collect();
    if sweep.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Perturbations: {}\n", cell(&model.name))?;
    writeln!(out, "Mean (median) over the attacked images, pixels in [0,1].\n")?;
    writeln!(
        out,
        "| epsilon | attacked | Linf | L2 | L1 | PSNR (dB) | SSIM |\n| --- | --- | --- | --- | --- | --- | --- |"
    )?;
    for under in sweep {
        let p = &under.perturbation;
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            under.epsilon,
            under.success.total,
            both(p.linf, 4),
            both(p.l2, 2),
            both(p.l1, 1),
            both(p.psnr, 1),
            both(p.ssim, 3)
        )?;
    }
    writeln!(out)
}

pub(super) fn both(summary: Summary, digits: usize) -> String {
    match (summary.mean, summary.median) {
        (Some(mean), Some(median)) => format!("{mean:.digits$} ({median:.digits$})"),
        _ => none(),
    }
}

fn balanced(metrics: &Metrics) -> String {
    metrics.balanced_accuracy.map_or_else(none, |b| b.to_string())
}

fn optional(proportion: Option<Proportion>) -> String {
    proportion.map_or_else(none, |p| p.to_string())
}

/// With the two decimals that the paper prints.
fn published(proportion: Proportion) -> String {
    let Proportion { hits, total, .. } = proportion;
    format!("{:.2} % ({hits}/{total})", 100.0 * hits as f64 / total as f64)
}

pub(super) fn none() -> String {
    "-".into()
}

/// One line, without the characters that would break a table.
pub(super) fn cell(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('|', "\\|")
}
