//! A battery's report as Markdown.

use std::fmt::{self, Write};

use super::markdown::{both, cell, none};
use super::{BatteryModel, BatteryReport};
use crate::attack::Norm;
use crate::evaluate::{AtEpsilon, AttackResult, Estimate, Interval, Proportion, Verdict, shown};
use crate::pixels::Epsilon;

impl BatteryReport {
    /// The report as Markdown: what speaks against believing it, right answers under every attack and the
    /// worst case, slides and flips, perturbations, costs, transfer, and every check.
    pub fn to_markdown(&self) -> String {
        let mut out = String::new();
        self.write_markdown(&mut out).expect("a String takes every text");
        out
    }

    fn write_markdown(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "# Robustness under a battery of attacks\n")?;
        writeln!(out, "Images: {}.", cell(&self.images))?;
        for note in &self.notes {
            writeln!(out, "{}", cell(note))?;
        }
        writeln!(
            out,
            "histoguard {}, burn {}. Intervals are 95 %: Wilson's over images unless they are said to resample \
             slides. Epsilon is in grey levels out of 255 for Linf, else the norm over the image in [0,1].\n",
            self.versions.histoguard, self.versions.burn
        )?;
        self.write_warnings(out)?;
        for norm in self.norms() {
            self.write_accuracy(out, norm)?;
        }
        for model in &self.models {
            write_worst_cases(out, model)?;
        }
        self.write_perturbations(out)?;
        self.write_costs(out)?;
        self.write_transfer(out)?;
        self.write_checks(out)
    }

    fn norms(&self) -> Vec<Norm> {
        let mut norms: Vec<Norm> = Vec::new();
        for worst in self.models.iter().flat_map(|model| &model.battery.worst_cases) {
            if !norms.contains(&worst.norm) {
                norms.push(worst.norm);
            }
        }
        norms
    }

    fn write_warnings(&self, out: &mut String) -> fmt::Result {
        let synthetic = self.models.iter().any(|model| model.battery.synthetic);
        let suspicious = || {
            self.models.iter().flat_map(|model| {
                let checks = model.battery.checks.iter();
                checks.filter(|c| c.verdict == Verdict::Suspicious).map(move |check| (&model.name, check))
            })
        };
        if !synthetic && suspicious().next().is_none() {
            return Ok(());
        }
        writeln!(out, "## Read this first\n")?;
        if synthetic {
            writeln!(
                out,
                "- The images are synthetic: drawn by a program, not photographed. The numbers say nothing about \
                 breast tissue."
            )?;
        }
        for (model, check) in suspicious() {
            writeln!(out, "- {}, {}: {}.", cell(model), check.name, cell(&check.seen))?;
        }
        writeln!(out)
    }

    /// Right answers of every model under every attack in this norm.
    fn write_accuracy(&self, out: &mut String, norm: Norm) -> fmt::Result {
        let mut epsilons: Vec<Epsilon> = (self.models.iter())
            .filter_map(|model| model.battery.worst_case(norm))
            .flat_map(|worst| worst.sweep.iter().map(|at| at.under.epsilon))
            .filter(|epsilon| *epsilon != Epsilon::ZERO)
            .collect();
        epsilons.sort_by(|a, b| a.value().total_cmp(&b.value()));
        epsilons.dedup();
        writeln!(out, "## Right answers under every attack, {norm}\n")?;
        write!(out, "| model | attack | access | no attack |")?;
        for &epsilon in &epsilons {
            write!(out, " {} |", shown(norm, epsilon))?;
        }
        writeln!(
            out,
            " median smallest |\n| --- | --- | --- | --- |{} --- |",
            " --- |".repeat(epsilons.len())
        )?;
        for model in &self.models {
            let clean = model.battery.clean.metrics.accuracy;
            let mut row = |attack: &str, access: &str, sweep: &[AtEpsilon], median: String| {
                write!(out, "| {} | {attack} | {access} | {clean} |", cell(&model.name))?;
                for epsilon in &epsilons {
                    let at = sweep.iter().find(|at| at.under.epsilon == *epsilon);
                    write!(out, " {} |", at.map_or_else(none, |at| at.under.metrics.accuracy.to_string()))?;
                }
                writeln!(out, " {median} |")
            };
            for attack in model.battery.attacks.iter().filter(|attack| attack.norm == norm) {
                row(&cell(&attack.label), &attack.access.to_string(), &attack.sweep, median(attack))?;
            }
            if let Some(worst) = model.battery.worst_case(norm) {
                row("**worst case of all**", "", &worst.sweep, String::new())?;
            }
        }
        writeln!(
            out,
            "\n\"Median smallest\" is the size of the smallest perturbation that breaks half of the attacked images, \
             searched for, or (at most) the smallest epsilon of the table; only images that are right without \
             attack are attacked.{}\n",
            match self.models.iter().any(|model| model.battery.only_survivors) {
                true => " Each attack ran on what the attacks above it left, and its row counts theirs too.",
                false => "",
            }
        )
    }

    fn write_perturbations(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "## Perturbations\n")?;
        writeln!(
            out,
            "Mean (median) over the attacked images, pixels in [0,1]; right answers after rounding the adversarial \
             image to 8 bits, as a PNG holds it.\n"
        )?;
        writeln!(
            out,
            "| model | attack | epsilon | attacked | Linf | L2 | L1 | PSNR (dB) | SSIM | right in 8 bits |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        )?;
        for model in &self.models {
            for attack in &model.battery.attacks {
                for at in attack.sweep.iter().filter(|at| at.under.epsilon != Epsilon::ZERO) {
                    let p = &at.under.perturbation;
                    writeln!(
                        out,
                        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                        cell(&model.name),
                        cell(&attack.label),
                        shown(attack.norm, at.under.epsilon),
                        at.under.success.total,
                        both(p.linf, 4),
                        both(p.l2, 2),
                        both(p.l1, 1),
                        both(p.psnr, 1),
                        both(p.ssim, 3),
                        at.detail.eight_bit.accuracy,
                    )?;
                }
            }
        }
        writeln!(out)
    }

    fn write_costs(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "## Costs\n")?;
        writeln!(
            out,
            "An image here is an image with one budget; a search is one for all budgets.\n\n\
             | model | attack | images | forwards an image | gradients an image | images a second |\n\
             | --- | --- | --- | --- | --- | --- |"
        )?;
        for model in &self.models {
            for (position, attack) in model.battery.attacks.iter().enumerate() {
                let each = |queries: u64| queries as f64 / attack.images.max(1) as f64;
                let timing = model.battery.timing.attacks.get(position);
                let rate = timing.and_then(|timing| timing.images_per_second);
                writeln!(
                    out,
                    "| {} | {} | {} | {:.1} | {:.1} | {} |",
                    cell(&model.name),
                    cell(&attack.label),
                    attack.images,
                    each(attack.queries.forwards),
                    each(attack.queries.gradients),
                    rate.map_or_else(none, |rate| format!("{rate:.2}")),
                )?;
            }
        }
        writeln!(out)
    }

    fn write_transfer(&self, out: &mut String) -> fmt::Result {
        for matrix in &self.transfer {
            let epsilon = matrix.epsilon.map_or_else(
                || "without a budget".to_string(),
                |epsilon| format!("epsilon {}", shown(matrix.norm, epsilon)),
            );
            writeln!(out, "## Transfer: {} {}, {epsilon}\n", cell(&matrix.attack), matrix.norm)?;
            writeln!(
                out,
                "Right answers of the model in the column on images crafted on the model in the row.\n"
            )?;
            let names = matrix.models.iter().map(|name| format!(" {} |", cell(name))).collect::<String>();
            writeln!(out, "| crafted on |{names}\n| --- |{}", " --- |".repeat(matrix.models.len()))?;
            let mut row = |name: &str, cells: &mut dyn Iterator<Item = Proportion>| {
                let cells = cells.map(|p| format!(" {p} |")).collect::<String>();
                writeln!(out, "| {name} |{cells}")
            };
            row("none", &mut matrix.clean.iter().copied())?;
            for (name, cells) in matrix.models.iter().zip(&matrix.cells) {
                row(&cell(name), &mut cells.iter().map(|cell| cell.accuracy))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_checks(&self, out: &mut String) -> fmt::Result {
        let Some(first) = self.models.first() else { return Ok(()) };
        writeln!(out, "## Checks\n\n| check | model | verdict | what it saw |\n| --- | --- | --- | --- |")?;
        for (position, check) in first.battery.checks.iter().enumerate() {
            for model in &self.models {
                let Some(found) = model.battery.checks.get(position) else { continue };
                let verdict = match found.verdict {
                    Verdict::Passed => "passed",
                    Verdict::Suspicious => "**suspicious**",
                    Verdict::NotApplicable => "not applicable",
                };
                writeln!(
                    out,
                    "| {} | {} | {verdict} | {} |",
                    check.name,
                    cell(&model.name),
                    cell(&found.seen)
                )?;
            }
        }
        writeln!(out, "\nWhy they matter:\n")?;
        for check in &first.battery.checks {
            writeln!(out, "- {}: {} ({})", check.name, check.matters, check.source)?;
        }
        Ok(())
    }
}

/// The worst case with every class, slide and flip.
fn write_worst_cases(out: &mut String, model: &BatteryModel) -> fmt::Result {
    let battery = &model.battery;
    for worst in &battery.worst_cases {
        writeln!(out, "## Worst case: {}, {}\n", cell(&model.name), worst.norm)?;
        write!(out, "| epsilon | all images | all, resampling slides |")?;
        for class in battery.classes.iter().rev() {
            write!(out, " {} only |", cell(class))?;
        }
        write!(out, " balanced accuracy | patient rate, resampling slides |")?;
        let flips = worst.sweep.first().map_or(&[][..], |at| &at.flips);
        for flip in flips {
            write!(out, " {} to {} |", cell(&flip.from), cell(&flip.to))?;
        }
        writeln!(out, " right in 8 bits |")?;
        writeln!(out, "|{}", " --- |".repeat(6 + battery.classes.len() + flips.len()))?;
        let clean = (&battery.clean.metrics, &battery.clean.detail, Vec::new());
        let rows = std::iter::once(("0 (clean)".to_string(), clean)).chain(
            worst.sweep.iter().filter(|at| at.under.epsilon != Epsilon::ZERO).map(|at| {
                let flips: Vec<Proportion> = at.flips.iter().map(|flip| flip.images).collect();
                (shown(worst.norm, at.under.epsilon), (&at.under.metrics, &at.detail, flips))
            }),
        );
        for (epsilon, (metrics, detail, counts)) in rows {
            let bootstrap = &detail.bootstrap;
            write!(out, "| {epsilon} | {} | {} |", metrics.accuracy, interval(bootstrap.accuracy))?;
            for class in metrics.classes.iter().rev() {
                write!(out, " {} |", class.accuracy)?;
            }
            let balanced = metrics.balanced_accuracy.map_or_else(none, |b| b.to_string());
            let rate = metrics.patient_rate.zip(bootstrap.patient_rate);
            let rate = rate.map_or_else(none, |(value, interval)| Estimate { value, interval }.to_string());
            write!(out, " {balanced} | {rate} ({} slides) |", bootstrap.slides)?;
            for position in 0..flips.len() {
                write!(out, " {} |", counts.get(position).map_or_else(none, Proportion::to_string))?;
            }
            writeln!(out, " {} |", detail.eight_bit.accuracy)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn median(attack: &AttackResult) -> String {
    let minimal = &attack.minimal;
    let size = |value: f64| match attack.norm {
        Norm::Linf => format!("{:.2}/255", 255.0 * value),
        _ => format!("{value:.3}"),
    };
    match (minimal.median, minimal.searched, minimal.broken.total) {
        (_, _, 0) => none(),
        (None, true, _) => "not found".into(),
        (None, false, _) => "beyond".into(),
        (Some(value), true, _) => size(value),
        (Some(value), false, _) => format!("at most {}", size(value)),
    }
}

fn interval(interval: Option<Interval>) -> String {
    interval.map_or_else(none, |i| format!("[{:.1}, {:.1}]", 100.0 * i.low, 100.0 * i.high))
}
