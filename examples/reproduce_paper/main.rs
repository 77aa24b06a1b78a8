//! The whole experiment of Li & Liu, Bioengineering 2023, 10, 973, with one command.
//!
//! `cargo run --release --example reproduce_paper` on drawn tissue, or with `-- --data BreaKHis_v1`.

#[path = "../common/mod.rs"]
mod common;
mod images;
#[path = "../common/interrupt.rs"]
mod interrupt;
mod models;
mod options;
mod report;

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::train::Interrupter;
use clap::Parser;
use histoguard::data::{Prepared, Split};
use histoguard::evaluate::{Evaluation, EvaluationError};
use histoguard::prelude::*;
use indicatif::{ProgressBar, ProgressStyle};

use common::Failure;
use options::Options;
use report::Run;

/// What Ctrl-C sets: a handle for training and a flag for the evaluation.
struct Stop {
    interrupter: Interrupter,
    flag: &'static AtomicBool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| experiment(&options))
}

fn experiment(options: &Options) -> Result<(), Failure> {
    options.check()?;
    let (interrupter, stop) = interrupt::on_interrupt()?;
    let stop = Stop { interrupter, flag: stop };
    let started = Instant::now();
    let split = images::open(options)?;
    // A checkpoint that does not fit is found now, not after the first training.
    models::start(options, split.train.classes().len())?;
    std::fs::create_dir_all(&options.out)
        .map_err(|error| Failure::wrong(format!("{}: expected a folder: {error}", options.out.display())))?;

    let original = run(options, &split, "original", None, &stop)?;
    for (position, &sigma) in options.sigma.iter().enumerate() {
        // The first noise is the report's; further ones have their own folders.
        let (name, folder) = match position {
            0 => ("defence".to_string(), options.out.clone()),
            _ => (format!("defence-sigma-{sigma}"), options.out.join(format!("sigma-{sigma}"))),
        };
        let defence = run(options, &split, &name, Some(sigma), &stop)?;
        let report = report::write(options, &split, [&original, &defence], sigma, started, &folder)?;
        report::print(&report, &folder);
    }
    Ok(())
}

/// Trains one model and attacks it on the test images.
fn run(
    options: &Options,
    split: &Split,
    name: &str,
    sigma: Option<f64>,
    stop: &Stop,
) -> Result<Run, Failure> {
    let trained = models::train(options, split, name, sigma, &stop.interrupter)?;
    let victim = Frozen::new(trained.model);
    let test = Prepared::new(split.test.clone(), options.image_size())?;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{prefix}: attacking, {pos} of {len} image passes, {eta} left")
            .expect("a valid template"),
    );
    bar.set_prefix(name.to_string());
    let robustness = Evaluation::new(&victim)
        .attack(Fgsm::new(Epsilon::ZERO))
        .epsilons(options.epsilons())
        .batch_size(options.batch_size)
        .on_progress(|progress| {
            bar.set_length(progress.total as u64);
            bar.set_position(progress.done as u64);
        })
        .cancel_with(stop.flag)
        .run(&test)
        .map_err(|error| match error {
            EvaluationError::Cancelled { .. } => {
                interrupt::interrupted("stopped; go on with --resume and the same options")
            }
            error => error.into(),
        })?;
    bar.finish_and_clear();
    Ok(Run { victim, robustness, history: trained.history, best_epoch: trained.best_epoch, test })
}
