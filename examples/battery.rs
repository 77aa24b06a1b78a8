//! The paper's two models, or any others, under a battery of attacks.
//!
//! `cargo run --release --example battery -- reproduce_paper_out/original.safetensors
//! reproduce_paper_out/defense.safetensors`

mod common {
    pub mod battery {
        pub mod attacks;
        pub mod options;
        pub mod semantic;
    }
    pub mod checkpoint;
    pub mod failure;
    pub mod images;
    pub mod interrupt;
    pub mod mask;
    pub mod output;
    pub mod program;
    pub mod progress;
    pub mod recorded;
    pub mod verify;
    pub mod victim;
}

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use clap::CommandFactory;
use common::battery::options::Options;
use common::failure::Failure;
use common::output::{note, say};
use common::progress::Told;
use common::recorded::Recorded;
use common::{images, interrupt, mask, program, victim};
use histoguard::attack::{Mask, Masked};
use histoguard::classifier::FrozenFeatures;
use histoguard::data::{LabeledImages, Prepared, Split};
use histoguard::evaluate::{EvaluationError, Shard};
use histoguard::file::{FolderLock, write_whole};
use histoguard::model::Precision;
use histoguard::prelude::*;
use histoguard::report::figures::{AttackCurves, Figure};
use histoguard::report::{Gate, Judgment, ModelReport, Report};

/// Exit code where a requirement is not met.
const NOT_MET: u8 = 3;

fn main() -> ExitCode {
    program::run(|options: Options| battery(&options))
}

fn battery(options: &Options) -> Result<(), Failure> {
    options.check()?;
    let (_, stop) = interrupt::on_interrupt()?;
    let given = Options::command().get_matches();
    let recorded = Recorded::read(&options.checkpoints, &given)?;
    let options = &Options { images: recorded.complete(&options.images, &given), ..options.clone() };
    let split = recorded.split(&options.images)?;
    let test = test_images(options, &split)?;
    let mask = mask(options, &test)?;
    let seen = recorded.notes(test.images())?;
    seen.iter().for_each(|seen| note(format_args!("note: {seen}")));
    let victims = options
        .checkpoints
        .iter()
        .zip(names(&options.checkpoints))
        .map(|(path, name)| Ok((name, victim(options, path, test.classes().len())?)))
        .collect::<Result<Vec<(String, Model)>, Failure>>()?;
    let features = victims.iter().map(|(_, model)| FrozenFeatures::new(model.clone())).collect();
    let options = &Options { features, ..options.clone() };
    let attacked = |(name, model): (String, Model)| {
        let fingerprint =
            weights::fingerprint(&model)? + if options.bf16 { ", gradients in bfloat16" } else { "" };
        Ok(Victim { fingerprint, name, frozen: Frozen::new(model) })
    };
    let victims = victims.into_iter().map(attacked).collect::<Result<Vec<Victim>, Failure>>()?;
    let gate = Gate::new(options.require.clone());
    if let Some(victim) = victims.first() {
        gate.check(&evaluation(options, mask.as_ref(), &split, victim)?, test.classes())?;
    }
    if let Some(shard) = options.shard {
        let _lock = FolderLock::share(&options.out)?;
        for victim in &victims {
            attack_shard(options, mask.as_ref(), &split, &test, victim, (shard, stop))?;
        }
        return Ok(());
    }
    let _lock = FolderLock::take(&options.out)?;
    let mut models = Vec::new();
    for victim in &victims {
        models.push(attack(options, mask.as_ref(), &split, &test, victim, stop)?);
    }
    let transfer = transfer(options, mask.as_ref(), &test, &victims, &models, stop)?;
    let tested = format!("{}, {} test images", options.images.describe(), test.len());
    let mut data = images::summary(&options.images, &split, tested);
    data.notes.extend(seen.into_iter().chain(options.left_out()));
    let precision = "attacks followed gradients in bfloat16; every image was judged in single precision";
    data.notes.extend(options.bf16.then(|| precision.to_string()));
    data.notes.extend(mask.map(|mask| {
        let summary = mask.summary();
        format!("attacks may change {summary} alone, and what is right under attack is right against these changes")
    }));
    let mut report = Report {
        configuration: serde_json::json!({ "options": options, "split": split.record() }),
        models,
        transfer,
        ..Report::new("Robustness under a battery of attacks", data)
    };
    report.requirements = gate.judge(&report);
    let files = report.write(&options.out)?;
    for (norm, _) in options.budgets() {
        let models = report.models.iter().map(|model| (model.name.clone(), &model.result));
        AttackCurves::new(norm, models).save(&options.out.join(format!("figure_attacks_{norm}.png")))?;
    }
    say(report.summary())?;
    for warning in report.warnings() {
        say(format_args!("note: {warning}"))?;
    }
    say(format_args!("one page in {}, tables and figures beside it", files.html.display()))?;
    std::fs::remove_dir_all(options.out.join("unfinished"))?;
    judged(options, &report)
}

/// Says what is not met, for readers and for continuous integration.
fn judged(options: &Options, report: &Report) -> Result<(), Failure> {
    if let Some(path) = options.junit() {
        write_whole(&path, report.to_junit().as_bytes())
            .map_err(|error| Failure::wrong(format!("{}: expected a file: {error}", path.display())))?;
    }
    let (met, missed): (Vec<_>, Vec<_>) = report.requirements.iter().partition(|judgment| judgment.met);
    for Judgment { model, requirement, found, .. } in met {
        say(format_args!("met by {model}: {requirement}, found {found}"))?;
    }
    let said: Vec<String> = missed
        .iter()
        .map(|Judgment { model, requirement, found, .. }| format!("{model}: {requirement}, found {found}"))
        .collect();
    match said.is_empty() {
        true => Ok(()),
        false => Err(Failure { code: NOT_MET, message: format!("not met: {}", said.join("; ")) }),
    }
}

/// The test side of the split, or as many of its images as the limit allows.
fn test_images(options: &Options, split: &Split) -> Result<Prepared, Failure> {
    let test = Prepared::new(split.test.clone(), options.images.image_size())?;
    let count = options.limit.unwrap_or(usize::MAX).min(test.len());
    let spread: Vec<usize> = (0..count).map(|i| i * test.len() / count).collect();
    Ok(test.subset(&spread))
}

/// Where attacks may change the images, if not everywhere.
fn mask(options: &Options, test: &Prepared) -> Result<Option<Mask>, Failure> {
    let Some(path) = &options.mask else { return Ok(None) };
    let image = test.original(0)?.dimensions();
    mask::read(path, test.image_size(), image).map(Some)
}

/// The attacks that are asked for, on what the mask leaves.
fn attacks(options: &Options, mask: Option<&Mask>) -> Result<Vec<Box<dyn Attack>>, Failure> {
    let attacks = options.chosen_attacks()?.into_iter();
    let masked = |attack| match mask {
        Some(mask) => Box::new(Masked::boxed(attack, mask.clone())) as Box<dyn Attack>,
        None => attack,
    };
    Ok(attacks.map(masked).collect())
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

type Model = Normalized<DenseNet>;

/// A checkpoint's network, with the gradients that are asked for.
fn victim(options: &Options, path: &Path, classes: usize) -> Result<Model, Failure> {
    let Model { network, normalization } = victim::load(path, classes)?;
    let precision = if options.bf16 { Precision::Bfloat16 } else { Precision::Float32 };
    let network = network.with_gradient_precision(precision);
    let network = network.map_err(|error| Failure::wrong(format!("--bf16: {error}")))?;
    Ok(Normalized::new(network, normalization))
}

/// A checkpoint's network.
struct Victim {
    name: String,
    fingerprint: String,
    frozen: Frozen,
}

impl Victim {
    /// Where its unfinished evaluation is.
    fn unfinished(&self, options: &Options) -> PathBuf {
        options.out.join("unfinished").join(&self.name)
    }
}

/// What every model goes through.
fn evaluation<'a>(
    options: &Options,
    mask: Option<&Mask>,
    split: &Split,
    victim: &'a Victim,
) -> Result<Evaluation<'a>, Failure> {
    Ok(Evaluation::new(&victim.frozen)
        .fingerprint(victim.fingerprint.clone())
        .attacks(attacks(options, mask)?)
        .budgets(options.budgets().into_iter().flat_map(|(_, budgets)| budgets))
        .only_survivors(options.only_survivors)
        .check_images(options.check_images)
        .seed(options.images.seed)
        .training_groups(split.train.samples().iter().map(|sample| sample.group.clone()))
        .batch_size(options.batch_size))
}

/// One model under all attacks.
fn attack(
    options: &Options,
    mask: Option<&Mask>,
    split: &Split,
    test: &Prepared,
    victim: &Victim,
    stop: &'static AtomicBool,
) -> Result<ModelReport, Failure> {
    let told = Told::new(format!("{}: attacking", victim.name));
    let evaluation = evaluation(options, mask, split, victim)?
        .resume_from(victim.unfinished(options))
        .on_progress(|progress| told.tell(progress))
        .cancel_with(stop);
    let result = evaluation.run(test).map_err(failure)?;
    let exhibits = evaluation.exhibits(test, &result, options.exhibits).map_err(failure)?;
    Ok(ModelReport { exhibits, ..ModelReport::new(&victim.name, result) })
}

/// One model under all attacks on a part of the images.
fn attack_shard(
    options: &Options,
    mask: Option<&Mask>,
    split: &Split,
    test: &Prepared,
    victim: &Victim,
    (shard, stop): (Shard, &'static AtomicBool),
) -> Result<(), Failure> {
    let name = &victim.name;
    let told = Told::new(format!("{name}: attacking shard {shard}"));
    let evaluation = evaluation(options, mask, split, victim)?
        .resume_from(victim.unfinished(options))
        .on_progress(|progress| told.tell(progress))
        .cancel_with(stop);
    let images = evaluation.run_shard(test, shard).map_err(failure)?;
    let all = test.len();
    say(format_args!(
        "{name}: shard {shard} done, {images} of {all} images; without --shard all are put together"
    ))
}

/// The strongest attack with a budget in each norm, from every model to every other.
fn transfer(
    options: &Options,
    mask: Option<&Mask>,
    test: &Prepared,
    victims: &[Victim],
    models: &[ModelReport],
    stop: &'static AtomicBool,
) -> Result<Vec<TransferMatrix>, Failure> {
    if victims.len() < 2 {
        return Ok(Vec::new());
    }
    let mut attacks = attacks(options, mask)?;
    // As the results have them.
    attacks.retain(|attack| !attack.profile().is_semantic());
    let mut matrices = Vec::new();
    for (norm, budgets) in options.budgets() {
        let Some(&budget) = budgets.get(budgets.len() / 2) else { continue };
        let left = |position: &usize| -> usize {
            let sweeps = models.iter().map(|model| &model.result.attacks[*position].sweep);
            sweeps.flatten().map(|under| under.metrics.accuracy.hits).sum()
        };
        let of_norm = |position: &usize| {
            let profile = attacks[*position].profile();
            profile.norm() == Some(norm) && profile.budget().is_some() && profile.access.is_white_box()
        };
        let Some(strongest) = (0..attacks.len()).filter(of_norm).min_by_key(left) else { continue };
        let attack = attacks[strongest].at(budget);
        let told = Told::new(format!("transfer of {} {norm}", attack.profile().name));
        let mut run = Transferability::new(attack.as_ref());
        for Victim { name, frozen, .. } in victims {
            run = run.model(name.clone(), frozen);
        }
        let run = run
            .batch_size(options.batch_size)
            .resume_from(options.out.join("unfinished").join(format!("transfer {norm}")))
            .on_progress(|progress| told.tell(progress))
            .cancel_with(stop);
        matrices.push(run.run(test).map_err(failure)?);
    }
    Ok(matrices)
}

fn failure(error: EvaluationError) -> Failure {
    match error {
        EvaluationError::Cancelled { .. } => {
            interrupt::interrupted("stopped; the same command goes on from here")
        }
        EvaluationError::State { .. } => Failure::wrong(format!("{error}; choose another --out")),
        error => error.into(),
    }
}
