//! The whole experiment of Li & Liu, Bioengineering 2023, 10, 973, with one command.
//!
//! `cargo run --release --example reproduce_paper` on drawn tissue, or with `-- --data BreaKHis_v1`.

mod common {
    pub mod checkpoint;
    pub mod failure;
    pub mod images;
    pub mod interrupt;
    pub mod network;
    pub mod output;
    pub mod program;
    pub mod progress;
    pub mod reproduce_paper {
        pub mod options;
        pub mod report;
    }
    pub mod verify;
}

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::train::Interrupter;
use histoguard::data::{Prepared, Split};
use histoguard::defense::GaussianNoise;
use histoguard::evaluate::EvaluationError;
use histoguard::file::FolderLock;
use histoguard::prelude::*;
use histoguard::report::History;

use common::failure::Failure;
use common::progress::Told;
use common::reproduce_paper::options::Options;
use common::reproduce_paper::report;
use common::reproduce_paper::report::Measured;
use common::{images, interrupt, program};

/// Images of each model that the page shows.
const EXHIBITS: usize = 3;

/// What Ctrl-C sets: a handle for training and a flag for the evaluation.
struct Stop {
    interrupter: Interrupter,
    flag: &'static AtomicBool,
}

fn main() -> ExitCode {
    program::run(|options: Options| experiment(&options))
}

fn experiment(options: &Options) -> Result<(), Failure> {
    options.check()?;
    let (interrupter, stop) = interrupt::on_interrupt()?;
    let stop = Stop { interrupter, flag: stop };
    let started = Instant::now();
    let split = images::open(&options.images)?;
    // A checkpoint that does not fit is found now, not after the first training.
    options.networks().start(split.train.classes().len())?;
    let _lock = FolderLock::take(&options.out)?;
    prepare_folder(options)?;

    let test = Prepared::new(split.test.clone(), options.images.image_size())?;
    let original = run(options, &split, &test, "original", None, &stop)?;
    for (position, &sigma) in options.sigma.iter().enumerate() {
        // The first noise is the report's; further ones have their own folders.
        let (name, folder) = match position {
            0 => ("defense".to_string(), options.out.clone()),
            _ => (format!("defense-sigma-{sigma}"), options.out.join(format!("sigma-{sigma}"))),
        };
        let defense = run(options, &split, &test, &name, Some(sigma), &stop)?;
        let report = report::write(options, &split, [&original, &defense], sigma, started, &folder)?;
        report::print(&report, &folder)?;
    }
    Ok(())
}

/// An unfinished run is gone on with or left alone; what a finished one left is removed.
fn prepare_folder(options: &Options) -> Result<(), Failure> {
    let (report, training) = (options.out.join("report.json"), options.out.join("training"));
    if options.resume {
        return Ok(());
    }
    if training.exists() && !report.exists() {
        return Err(Failure::wrong(format!(
            "{}: expected no unfinished run, found one: go on with --resume, or choose another --out",
            options.out.display()
        )));
    }
    for result in [std::fs::remove_file(&report), std::fs::remove_dir_all(&training)] {
        match result {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::wrong(format!(
                    "{}: cannot be replaced: {error}",
                    options.out.display()
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Trains one model, with noise of this sigma for the defense, and attacks it on the test images.
fn run(
    options: &Options,
    split: &Split,
    test: &Prepared,
    name: &str,
    sigma: Option<f64>,
    stop: &Stop,
) -> Result<Measured, Failure> {
    let mut trainer = Trainer::new(options.training());
    if let Some(sigma) = sigma {
        trainer = trainer.objective(GaussianNoise::new(sigma).with_seed(options.images.seed));
    }
    let trained = options.networks().train(name, trainer, split, &stop.interrupter)?;
    let (history, epoch_seconds) = (History::of(&trained), trained.history.seconds.clone());
    let victim = Frozen::new(trained.model);
    let told = Told::new(format!("{name}: attacking"));
    let evaluation = Evaluation::new(&victim)
        .attack(Fgsm::new(Budget::pixels(1.0)))
        .budgets(options.budgets())
        .seed(options.images.seed)
        .training_groups(split.train.samples().iter().map(|sample| sample.group.clone()))
        .batch_size(options.batch_size)
        .on_progress(|progress| told.tell(progress))
        .cancel_with(stop.flag);
    let result = evaluation.run(test).map_err(stopped)?;
    let exhibits = evaluation.exhibits(test, &result, EXHIBITS).map_err(stopped)?;
    drop(evaluation);
    Ok(Measured { victim, result, exhibits, history, epoch_seconds, test: test.clone() })
}

/// Of an evaluation that somebody stopped, how to go on.
fn stopped(error: EvaluationError) -> Failure {
    match error {
        EvaluationError::Cancelled { .. } => {
            interrupt::interrupted("stopped; go on with --resume and the same options")
        }
        error => error.into(),
    }
}
