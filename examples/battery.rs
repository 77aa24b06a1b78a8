//! The paper's two models, or any others, under a battery of attacks.
//!
//! `cargo run --release --example battery -- reproduce_paper_out/original.safetensors
//! reproduce_paper_out/defence.safetensors`

mod common {
    pub mod battery {
        pub mod attacks;
        pub mod options;
    }
    pub mod failure;
    pub mod images;
    pub mod interrupt;
    pub mod verify;
}

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::Parser;
use common::battery::options::Options;
use common::failure::{self, Failure};
use common::{images, interrupt};
use histoguard::data::{LabeledImages, Prepared, Split};
use histoguard::evaluate::EvaluationError;
use histoguard::prelude::*;
use histoguard::report::figures::{AttackCurves, Figure};
use histoguard::report::{BatteryModel, BatteryReport, Versions};
use histoguard::weights;
use indicatif::{ProgressBar, ProgressStyle};

/// Seconds between lines where no bar can be drawn.
const QUIET: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let options = Options::parse();
    failure::run(|| battery(&options))
}

fn battery(options: &Options) -> Result<(), Failure> {
    options.check()?;
    let (_, stop) = interrupt::on_interrupt()?;
    let split = images::open(&options.images)?;
    let test = test_images(options, &split)?;
    let victims = options
        .checkpoints
        .iter()
        .zip(names(&options.checkpoints))
        .map(|(path, name)| Ok((name, load(path, test.classes().len())?)))
        .collect::<Result<Vec<(String, Frozen)>, Failure>>()?;
    let mut models = Vec::new();
    for (name, victim) in &victims {
        models.push(BatteryModel {
            name: name.clone(),
            battery: attack(options, &split, &test, name, victim, stop)?,
        });
    }
    let transfer = transfer(options, &test, &victims, &models)?;
    let report = BatteryReport {
        versions: Versions::current(),
        configuration: serde_json::json!({ "options": options, "split": split.record() }),
        images: format!(
            "{}, {} test images, split {}",
            options.images.describe(),
            test.len(),
            split.record().method
        ),
        notes: test.images().notes().to_vec(),
        models,
        transfer,
    };
    let [_, markdown] = report.write(&options.out)?;
    for (norm, _) in options.budgets() {
        let models = report.models.iter().map(|model| (model.name.clone(), &model.battery));
        AttackCurves::new(norm, models).save(&options.out.join(format!("figure_attacks_{norm}.png")))?;
    }
    print(&report);
    println!("tables in {}, figures beside it", markdown.display());
    std::fs::remove_dir_all(options.out.join("unfinished"))?;
    Ok(())
}

/// The test side of the split, or as many of its images as the limit allows.
fn test_images(options: &Options, split: &Split) -> Result<Prepared, Failure> {
    let test = Prepared::new(split.test.clone(), options.images.image_size())?;
    let count = options.limit.unwrap_or(usize::MAX).min(test.len());
    let spread: Vec<usize> = (0..count).map(|i| i * test.len() / count).collect();
    Ok(test.subset(&spread))
}

/// The checkpoints' names without folder and extension, numbered if two are the same.
fn names(checkpoints: &[PathBuf]) -> Vec<String> {
    let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let stems: Vec<String> = checkpoints.iter().map(stem).collect();
    let numbered =
        |(position, stem): (usize, &String)| match stems[..position].iter().filter(|s| *s == stem).count() {
            0 => stem.clone(),
            before => format!("{stem} ({})", before + 1),
        };
    stems.iter().enumerate().map(numbered).collect()
}

fn load(checkpoint: &Path, classes: usize) -> Result<Frozen, Failure> {
    let net = DenseNetConfig::densenet121(classes).init(&Device::default());
    let net = weights::load(net, checkpoint)?;
    Ok(Frozen::new(Normalized::new(net, Normalization::IMAGENET)))
}

/// One model under all attacks.
fn attack(
    options: &Options,
    split: &Split,
    test: &Prepared,
    name: &str,
    victim: &Frozen,
    stop: &'static AtomicBool,
) -> Result<Battery, Failure> {
    let (started, said, before) = (Instant::now(), Cell::new(Instant::now()), Cell::new(None));
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{prefix}: attacking, {pos} of {len} image passes, {eta} left")
            .expect("a valid template"),
    );
    bar.set_prefix(name.to_string());
    let mut evaluation = Evaluation::new(victim).attacks(options.chosen_attacks()?);
    for (norm, epsilons) in options.budgets() {
        evaluation = evaluation.epsilons_in(norm, epsilons);
    }
    let battery = evaluation
        .only_survivors(options.only_survivors)
        .batch_size(options.batch_size)
        .check_images(options.check_images)
        .seed(options.images.seed)
        .training_groups(split.train.samples().iter().map(|sample| sample.group.clone()))
        .resume_from(options.out.join("unfinished").join(name))
        .on_progress(|progress| {
            bar.set_length(progress.total as u64);
            bar.set_position(progress.done as u64);
            // The bar draws on terminals alone.
            if bar.is_hidden() && said.get().elapsed() >= QUIET {
                said.set(Instant::now());
                // What an earlier run finished took no time now.
                let (done, at) = before.get().unwrap_or((0, Duration::ZERO));
                let pace = (started.elapsed() - at).as_secs_f64() / (progress.done - done).max(1) as f64;
                let left = pace * (progress.total - progress.done) as f64;
                eprintln!(
                    "{name}: attacking, {} of {} image passes, {left:.0} s left",
                    progress.done, progress.total
                );
                before.set(Some((progress.done, started.elapsed())));
            }
        })
        .cancel_with(stop)
        .battery(test)
        .map_err(|error| match error {
            EvaluationError::Cancelled { .. } => {
                interrupt::interrupted("stopped; the same command goes on from here")
            }
            EvaluationError::State { .. } => Failure::wrong(format!("{error}; choose another --out")),
            error => error.into(),
        })?;
    bar.finish_and_clear();
    Ok(battery)
}

/// The strongest attack with a budget in each norm, from every model to every other.
fn transfer(
    options: &Options,
    test: &Prepared,
    victims: &[(String, Frozen)],
    models: &[BatteryModel],
) -> Result<Vec<TransferMatrix>, Failure> {
    let named: Vec<(&str, &Frozen)> = victims.iter().map(|(name, victim)| (name.as_str(), victim)).collect();
    if named.len() < 2 {
        return Ok(Vec::new());
    }
    let attacks = options.chosen_attacks()?;
    let mut matrices = Vec::new();
    for (norm, epsilons) in options.budgets() {
        let Some(&epsilon) = epsilons.get(epsilons.len() / 2) else { continue };
        let left = |position: &usize| -> usize {
            let sweeps = models.iter().map(|model| &model.battery.attacks[*position].sweep);
            sweeps.flatten().map(|at| at.under.metrics.accuracy.hits).sum()
        };
        let of_norm = |position: &usize| {
            let attack = &attacks[*position];
            attack.norm() == norm && attack.epsilon().is_some() && attack.access().is_white_box()
        };
        if let Some(strongest) = (0..attacks.len()).filter(of_norm).min_by_key(left) {
            eprintln!("transfer: {} {norm}", attacks[strongest].name());
            let attack = attacks[strongest].with_epsilon(epsilon);
            matrices.push(TransferMatrix::new(&named, attack.as_ref(), test, options.batch_size)?);
        }
    }
    Ok(matrices)
}

/// The worst case of every model and what its checks say, on standard output.
fn print(report: &BatteryReport) {
    for BatteryModel { name, battery } in &report.models {
        println!("{name}: {} without attack", battery.clean.metrics.accuracy);
        for worst in &battery.worst_cases {
            for at in &worst.sweep {
                let epsilon = match worst.norm {
                    Norm::Linf => at.under.epsilon.to_string(),
                    _ => at.under.epsilon.value().to_string(),
                };
                println!("{name}: {} at {} epsilon {epsilon}", at.under.metrics.accuracy, worst.norm);
            }
        }
        for check in battery.checks.iter().filter(|c| c.verdict == histoguard::evaluate::Verdict::Suspicious)
        {
            println!("note: {name}, {}: {}", check.name, check.seen);
        }
    }
}
