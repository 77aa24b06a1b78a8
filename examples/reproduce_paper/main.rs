//! The whole experiment of Li & Liu, Bioengineering 2023, 10, 973, with one command.
//!
//! `cargo run --release --example reproduce_paper` on drawn tissue, or with `-- --data BreaKHis_v1`.

#[path = "../common/mod.rs"]
mod common;
mod images;
mod models;
mod options;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::train::Interrupter;
use clap::Parser;
use histoguard::data::{Prepared, Split};
use histoguard::evaluate::{Evaluation, EvaluationError, Robustness};
use histoguard::prelude::*;
use indicatif::{ProgressBar, ProgressStyle};

use common::Failure;
use models::Model;
use options::Options;
use report::Run;

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| experiment(&options))
}

fn experiment(options: &Options) -> Result<(), Failure> {
    options.check()?;
    let interrupter = common::on_interrupt()?;
    let started = Instant::now();
    let split = images::open(options)?;
    // A checkpoint that does not fit is found now, not after the first training.
    models::start(options, split.train.classes().len())?;
    std::fs::create_dir_all(&options.out)
        .map_err(|error| Failure::wrong(format!("{}: expected a folder: {error}", options.out.display())))?;

    let original = run(options, &split, "original", None, &interrupter)?;
    let mut summary = vec![("original".to_string(), original.robustness.clone())];
    for (position, &sigma) in options.sigma.iter().enumerate() {
        let name = if position == 0 { "defence".to_string() } else { format!("defence-sigma-{sigma}") };
        let defence = run(options, &split, &name, Some(sigma), &interrupter)?;
        summary.push((format!("sigma {sigma}"), defence.robustness.clone()));
        let folder = if position == 0 { options.out.clone() } else { options.out.join(format!("sigma-{sigma}")) };
        report::write(options, &split, [&original, &defence], sigma, started, &folder)?;
    }
    report::print(&summary, &options.out);
    Ok(())
}

/// Trains one model and attacks it on the test images.
fn run(
    options: &Options,
    split: &Split,
    name: &str,
    sigma: Option<f64>,
    interrupter: &Interrupter,
) -> Result<Run, Failure> {
    let trained = models::train(options, split, name, sigma, interrupter)?;
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
        .cancel_with(&common::STOP)
        .run(&test)
        .map_err(|error| match error {
            EvaluationError::Cancelled { .. } => Failure::Interrupted("stopped; go on with --resume".to_string()),
            error => error.into(),
        })?;
    bar.finish_and_clear();
    Ok(Run { victim, robustness, history: trained.history, best_epoch: trained.best_epoch, test })
}
