//! Every defense beside the attacks that know it, with one command.
//!
//! `cargo run --release --example defend` on drawn tissue, or with `-- --data BreaKHis_v1`.

mod common {
    pub mod battery {
        pub mod attacks;
    }
    pub mod defend {
        pub mod comparison;
        pub mod options;
        pub mod training;
    }
    pub mod failure;
    pub mod images;
    pub mod interrupt;
    pub mod progress;
    pub mod verify;
}

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use common::defend::comparison::{self, Compared};
use common::defend::options::{Defense, Options};
use common::defend::training::{self, Model};
use common::failure::{self, Failure};
use common::progress::Told;
use common::{images, interrupt};
use histoguard::data::{Prepared, Split};
use histoguard::evaluate::EvaluationError;
use histoguard::file::write_whole;
use histoguard::prelude::*;
use histoguard::report::figures::{AttackCurves, Figure};
use histoguard::report::{DataSummary, History, ModelReport, Report, SplitSummary};

fn main() -> ExitCode {
    let options = Options::parse();
    failure::run(|| compare(&options))
}

fn compare(options: &Options) -> Result<(), Failure> {
    options.check()?;
    let (interrupter, stop) = interrupt::on_interrupt()?;
    let split = images::open(&options.images)?;
    // A checkpoint that does not fit is found now, not after the first training.
    training::start(options, split.train.classes().len())?;
    let test = Prepared::new(split.test.clone(), options.images.image_size())?;
    let mut undefended: Option<Model> = None;
    let mut compared = Vec::new();
    for defense in options.all() {
        let trained = training::train(options, &split, defense, undefended.as_ref(), &interrupter)?;
        let (history, training) = (History::of(&trained), trained.history.seconds.iter().sum());
        if defense == Defense::Undefended {
            undefended = Some(trained.model.clone());
        }
        let result = attack(options, &split, &test, defense, &Frozen::new(trained.model), stop)?;
        let model = ModelReport { history: Some(history), ..ModelReport::new(defense.name(), result) };
        compared.push(Compared { model, training });
    }
    write(options, &split, &compared)?;
    for folder in ["unfinished", "training"] {
        std::fs::remove_dir_all(options.out.join(folder))?;
    }
    Ok(())
}

/// One defense under all attacks.
fn attack(
    options: &Options,
    split: &Split,
    test: &Prepared,
    defense: Defense,
    victim: &Frozen,
    stop: &'static AtomicBool,
) -> Result<EvaluationResult, Failure> {
    let name = defense.name();
    let told = Told::new(format!("{name}: attacking"));
    Evaluation::new(victim)
        .attacks(options.chosen_attacks()?)
        .budgets(options.budgets())
        .only_survivors(options.only_survivors)
        .check_images(options.check_images)
        .seed(options.images.seed)
        .training_groups(split.train.samples().iter().map(|sample| sample.group.clone()))
        .batch_size(options.batch_size)
        .resume_from(options.out.join("unfinished").join(&name))
        .on_progress(|progress| told.tell(progress))
        .cancel_with(stop)
        .run(test)
        .map_err(|error| match error {
            EvaluationError::Cancelled { .. } => {
                interrupt::interrupted("stopped; go on with --resume and the same options")
            }
            error => error.into(),
        })
}

fn write(options: &Options, split: &Split, compared: &[Compared]) -> Result<(), Failure> {
    let data = DataSummary {
        description: format!("{}, {} test images", options.images.describe(), split.test.len()),
        notes: split.test.notes().to_vec(),
        split: Some(SplitSummary {
            method: split.record().method.to_string(),
            seed: options.images.seed,
            train: split.train.class_counts(),
            validation: split.validation.class_counts(),
            test: split.test.class_counts(),
        }),
    };
    let timing: Vec<_> = compared.iter().map(|one| (&one.model.name, one.training)).collect();
    let report = Report {
        configuration: serde_json::json!({ "options": options, "training": options.training(), "split": split.record() }),
        models: compared.iter().map(|one| one.model.clone()).collect(),
        timing: serde_json::json!({ "training_seconds": timing }),
        ..Report::new("Defenses under attacks that know them", data)
    };
    let [_, markdown] = report.write(&options.out)?;
    let models = report.models.iter().map(|model| (model.name.clone(), &model.result));
    AttackCurves::new(Norm::Linf, models).save(&options.out.join("figure_attacks_Linf.png"))?;
    let table = comparison::table(compared, &options.budgets());
    write_whole(&options.out.join("comparison.md"), table.as_bytes())?;
    println!("{table}");
    for warning in report.warnings() {
        println!("note: {warning}");
    }
    println!("tables in {}, figures beside it", markdown.display());
    Ok(())
}
