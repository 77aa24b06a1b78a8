//! Learns a generator of images and its inverter from the training images, and searches natural adversarial
//! examples of the test images with them.
//!
//! `cargo run --release --example natural -- reproduce_paper_out/original.safetensors --image-size 64`

mod common {
    pub mod checkpoint;
    pub mod failure;
    pub mod images;
    pub mod interrupt;
    pub mod learning;
    pub mod output;
    pub mod program;
    pub mod recorded;
    pub mod verify;
    pub mod victim;
}

use std::path::PathBuf;
use std::process::ExitCode;

use burn::tensor::activation::softmax;
use clap::{CommandFactory, Parser, ValueEnum};
use common::failure::Failure;
use common::images::ImageOptions;
use common::learning::{class, same_work, stop_with};
use common::output::{note, say};
use common::recorded::Recorded;
use common::{images, interrupt, program, victim};
use histoguard::attack::{
    GanSchedule, Natural, NaturalExample, NaturalOutcome, Reconstruction, ReconstructionLimits, ShellOrder,
    ShellSearch, Wgan, WganLosses, WganTraining,
};
use histoguard::data::{LabeledImages, Prepared};
use histoguard::file::{FolderLock, IoError, write_whole};
use histoguard::prelude::*;
use histoguard::report::DataSummary;
use histoguard::report::figures::{Figure, NaturalPanel, NaturalRow};
use histoguard::statistics::Proportion;
use serde::Serialize;

/// Images in the picture.
const PICTURES: usize = 6;

/// Learns a WGAN-GP and its inverter from training images, measures on validation images how well those come
/// back from their codes, searches around the codes of test images that a DenseNet checkpoint has right,
/// and writes natural.safetensors, natural.png (image, reconstruction, adversary) and natural.json, beside
/// training.safetensors and learned_from.json. Sides of the images have to be divisible by 16. The same
/// command goes on where it was interrupted.
#[derive(Clone, Debug, Parser, Serialize)]
struct Options {
    /// Checkpoint: safetensors or PyTorch state dict with torchvision's names.
    checkpoint: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    images: ImageOptions,
    /// Passes over the training images; the paper's are 100,000 steps of the generator.
    #[arg(long, default_value_t = 150)]
    epochs: usize,
    /// Passes at the end in which the inverter alone learns.
    #[arg(long, default_value_t = 15)]
    settling: usize,
    /// Adam's, of all networks; the paper's is 0.0001.
    #[arg(long, default_value_t = 0.0007)]
    learning_rate: f64,
    /// Channels of all networks at half the images' sides; the paper's are 64.
    #[arg(long, default_value_t = 8)]
    width: usize,
    /// Numbers of a code.
    #[arg(long, default_value_t = 32)]
    latent: usize,
    /// Images of a training step.
    #[arg(long, default_value_t = 8)]
    batch_size: usize,
    /// In which order shells are searched: the paper's algorithm 1 or 2.
    #[arg(long, value_enum, default_value = "hybrid")]
    order: Order,
    /// Candidates of a shell; the paper's are 5,000.
    #[arg(long, default_value_t = 100)]
    samples: usize,
    /// Thickness of a shell; the paper's is 0.01.
    #[arg(long, default_value_t = 0.1)]
    step: f64,
    /// Test images to search for, evenly spread over them.
    #[arg(long, default_value_t = 40)]
    limit: usize,
    /// Search towards this class instead of away from the true ones.
    #[arg(long)]
    target: Option<String>,
    /// Largest mean error of reconstructions, as a share of the mean image's.
    #[arg(long, default_value_t = 1.0)]
    largest_error: f64,
    /// Least share of each class whose reconstructions the checkpoint gives that class too.
    #[arg(long, default_value_t = 0.5)]
    least_kept: f64,
    /// Where everything goes.
    #[arg(long, default_value = "natural_out")]
    #[serde(skip)]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    Iterative,
    Hybrid,
}

impl Options {
    fn wgan(&self) -> Wgan {
        let schedule = GanSchedule::new()
            .with_epochs(self.epochs)
            .with_batch_size(self.batch_size)
            .with_learning_rate(self.learning_rate)
            .with_milestones(Vec::new())
            .with_seed(self.images.seed);
        Wgan::new()
            .with_latent(self.latent)
            .with_width(self.width)
            .with_settling(self.settling)
            .with_schedule(schedule)
    }

    fn search(&self) -> ShellSearch {
        let order = match self.order {
            Order::Iterative => ShellOrder::Iterative,
            Order::Hybrid => ShellOrder::Hybrid,
        };
        ShellSearch::new()
            .with_order(order)
            .with_samples(self.samples)
            .with_step(self.step)
            .with_seed(self.images.seed)
    }

    fn limits(&self) -> ReconstructionLimits {
        ReconstructionLimits { largest_error: self.largest_error, least_kept: self.least_kept }
    }
}

fn main() -> ExitCode {
    program::run(|options: Options| natural(&options))
}

fn natural(options: &Options) -> Result<(), Failure> {
    let given = Options::command().get_matches();
    let recorded = Recorded::read(std::slice::from_ref(&options.checkpoint), &given)?;
    let options = &Options { images: recorded.complete(&options.images, &given), ..options.clone() };
    options.images.check()?;
    let size = options.images.image_size();
    // Wrong settings end it before anything is read or written.
    options.wgan().start([3, size, size])?;
    options.search().check()?;
    options.limits().check()?;
    if options.limit == 0 {
        return Err(Failure::wrong("--limit: expected at least 1, found 0"));
    }
    let split = recorded.split(&options.images)?;
    let train = Prepared::new(split.train.clone(), size)?;
    let held_out = Prepared::new(split.validation.clone(), size)?;
    let test = Prepared::new(split.test.clone(), size)?;
    let target = options.target.as_ref().map(|name| class(&train, name)).transpose()?;
    let victim = Frozen::new(victim::load(&options.checkpoint, train.classes().len())?);
    victim.check([3, size, size])?;

    let _lock = FolderLock::take(&options.out)?;
    same_work(options, &options.checkpoint, &options.out)?;
    let (_, stop) = interrupt::on_interrupt()?;
    stop_with(&victim, stop);
    let training = heeded(&victim, learn(options, &victim, &train))?;
    let attack = Natural::learned(
        &options.wgan(),
        &training,
        options.limits(),
        &victim,
        held_out.len(),
        |positions: &[usize]| fetch(&held_out, &victim, positions),
    )?
    .with_search(options.search());
    attack.save(options.out.join("natural.safetensors"))?;

    let described = format!("{}, {} test images", options.images.describe(), test.len());
    let mut data = images::summary(&options.images, &split, described);
    data.notes.extend(recorded.notes(test.images())?);
    data.notes.iter().for_each(|said| note(format_args!("note: {said}")));
    let found = heeded(&victim, search(options, &victim, &attack, &test, target))?;
    report(options, &victim, &attack, &training, (&test, &found), data)
}

fn fetch(data: &Prepared, victim: &Frozen, positions: &[usize]) -> Result<(Tensor<4>, Goal), Failure> {
    let batch = data.batch(positions, victim.device())?;
    Ok((batch.images, Goal::untargeted(batch.labels)))
}

/// What was done, or that it was stopped.
fn heeded<T>(victim: &Frozen, done: Result<T, Failure>) -> Result<T, Failure> {
    if victim.watch().is_stopped() {
        return Err(interrupt::interrupted("stopped; the same command goes on after the last whole epoch"));
    }
    done
}

/// All epochs, saved after each.
fn learn(options: &Options, victim: &Frozen, train: &Prepared) -> Result<WganTraining, Failure> {
    let (path, size) = (options.out.join("training.safetensors"), options.images.image_size());
    let wgan = options.wgan();
    let mut training = match path.exists() {
        true => WganTraining::load(&path)?,
        false => wgan.start([3, size, size])?,
    };
    while !training.origin().finished {
        wgan.pass(victim, &mut training, train.len(), |positions: &[usize]| fetch(train, victim, positions))?;
        training.save(&path)?;
        let WganLosses { critic, penalty, reconstruction, latent, .. } =
            training.losses().last().copied().unwrap_or_default();
        let said = |name: &str, loss: Option<f64>| loss.map(|loss| format!("{name} {loss:.4}"));
        let losses: Vec<String> = [
            said("critic", critic),
            said("penalty", penalty),
            said("reconstruction", reconstruction),
            said("codes", latent),
        ]
        .into_iter()
        .flatten()
        .collect();
        note(format_args!("epoch {}/{}: {}", training.origin().passes, options.epochs, losses.join(", ")));
    }
    Ok(training)
}

/// A test image and what the search around its code came to.
struct Searched {
    position: usize,
    example: NaturalExample,
}

/// Searches for those of the test images that the checkpoint has right.
fn search(
    options: &Options,
    victim: &Frozen,
    attack: &Natural,
    test: &Prepared,
    target: Option<usize>,
) -> Result<Vec<Searched>, Failure> {
    let count = options.limit.min(test.len());
    let mut found = Vec::new();
    for position in (0..count).map(|i| i * test.len() / count) {
        let (label, batch) = (test.label(position), test.batch(&[position], victim.device())?);
        if victim.predict(batch.images.clone())[0] != label || target == Some(label) {
            continue;
        }
        let goal = match target {
            Some(target) => Goal::targeted([target]).with_true_classes([label]),
            None => Goal::untargeted([label]),
        };
        let goal = goal.with_indices(batch.indices);
        let example = attack.search(victim, batch.images, &goal)?.remove(0);
        found.push(Searched { position, example });
        if found.len().is_multiple_of(10) {
            note(format_args!("searched for {} images", found.len()));
        }
    }
    Ok(found)
}

/// Of the searches for images of a class, or of all.
#[derive(Serialize)]
struct Row {
    images: String,
    found: Proportion,
    /// Reconstructions that are of another class, or the target's, by themselves.
    misread: usize,
    /// Means over the images with an adversary; `None` if there is none.
    distance: Option<f64>,
    reconstruction_error: Option<f64>,
    queries: Option<f64>,
}

impl Row {
    fn of(images: &str, searched: &[&Searched]) -> Self {
        let found: Vec<(f64, &NaturalExample)> = searched
            .iter()
            .filter_map(|searched| Some((searched.example.found()?.distance, &searched.example)))
            .collect();
        let mean = |figure: fn(&(f64, &NaturalExample)) -> f64| {
            let sum: f64 = found.iter().map(figure).sum();
            (!found.is_empty()).then(|| sum / found.len() as f64)
        };
        let misread = |searched: &&&Searched| matches!(searched.example.outcome, NaturalOutcome::Misread);
        Self {
            images: images.into(),
            found: Proportion::new(found.len(), searched.len()),
            misread: searched.iter().filter(misread).count(),
            distance: mean(|found| found.0),
            reconstruction_error: mean(|found| found.1.reconstruction_error),
            queries: mean(|found| found.1.queries as f64),
        }
    }

    fn say(&self) -> Result<(), Failure> {
        let or_dash = |figure: Option<f64>, digits: usize| {
            figure.map_or("-".to_string(), |figure| format!("{figure:.digits$}"))
        };
        say(format_args!(
            "{:<12} found {}, misread by the inverter {}; of those found: distance of codes {}, RMS error of the \
             reconstruction {}, queries {}",
            self.images,
            self.found,
            self.misread,
            or_dash(self.distance, 3),
            or_dash(self.reconstruction_error, 4),
            or_dash(self.queries, 0)
        ))
    }
}

/// What natural.json holds.
#[derive(Serialize)]
struct Figures<'a> {
    options: &'a Options,
    learned: serde_json::Value,
    data: DataSummary,
    losses: &'a [WganLosses],
    held_out: &'a Reconstruction,
    searches: Vec<Row>,
}

/// The table, the picture and the figures.
fn report(
    options: &Options,
    victim: &Frozen,
    attack: &Natural,
    training: &WganTraining,
    (test, found): (&Prepared, &[Searched]),
    data: DataSummary,
) -> Result<(), Failure> {
    let held_out = attack.reconstruction();
    say(format_args!(
        "{} held-out images: RMS error of reconstructions {:.4}, of the mean image {:.4}",
        held_out.images, held_out.error, held_out.mean_image_error
    ))?;
    for (name, kept) in test.classes().iter().zip(&held_out.kept) {
        say(format_args!("{name}: {kept} of the reconstructions stay in the class"))?;
    }
    let all: Vec<&Searched> = found.iter().collect();
    let mut searches = vec![Row::of("all", &all)];
    for (class, name) in test.classes().iter().enumerate() {
        let own: Vec<&Searched> =
            found.iter().filter(|searched| test.label(searched.position) == class).collect();
        searches.push(Row::of(name, &own));
    }
    say(format_args!("natural adversaries of {} test images that were right:", found.len()))?;
    searches.iter().try_for_each(Row::say)?;
    match panel(victim, test, found)? {
        Some(panel) => panel.save(&options.out.join("natural.png"))?,
        None => note("no picture: no adversary was found"),
    }
    let (learned, losses) = (serde_json::to_value(attack)?, training.losses());
    let figures = Figures { options, learned, data, losses, held_out, searches };
    let (path, text) = (options.out.join("natural.json"), serde_json::to_string_pretty(&figures)?);
    write_whole(&path, format!("{text}\n").as_bytes()).map_err(IoError::at(&path, "a file to write"))?;
    say(format_args!("networks, picture and figures in {}", options.out.display()))
}

/// Test images with an adversary, the first ones of each class in turn.
fn panel(victim: &Frozen, test: &Prepared, found: &[Searched]) -> Result<Option<NaturalPanel>, Failure> {
    let classes = test.classes();
    let with: Vec<&Searched> = found.iter().filter(|searched| searched.example.found().is_some()).collect();
    let of_class = |class: usize| with.iter().filter(move |searched| test.label(searched.position) == class);
    let mut chosen: Vec<(usize, &Searched)> = (0..classes.len())
        .flat_map(|class| of_class(class).take(PICTURES.div_ceil(classes.len())).copied().enumerate())
        .collect();
    chosen.sort_by_key(|(turn, _)| *turn);
    let mut rows = Vec::new();
    for (_, Searched { position, example }) in chosen.into_iter().take(PICTURES) {
        let Some(adversary) = example.found() else { continue };
        let image = test.batch(&[*position], victim.device())?.images;
        let images = [image, example.reconstruction.clone(), adversary.image.clone()];
        let answer = |image: &Tensor<4>| {
            let logits = victim.logits(image.clone());
            let answer = histoguard::classifier::predictions(logits.clone())[0];
            (classes[answer].clone(), f64::from(softmax(logits, 1).max().into_scalar::<f32>()))
        };
        rows.push(NaturalRow {
            name: test.name(*position),
            truth: classes[test.label(*position)].clone(),
            answers: images.each_ref().map(answer),
            images: images.map(|image| image.squeeze_dim(0)),
            reconstruction_error: example.reconstruction_error,
            distance: adversary.distance,
        });
    }
    let panel = |rows| NaturalPanel::new("Natural adversaries, test images", rows);
    Ok((!rows.is_empty()).then(|| panel(rows).synthetic(test.is_synthetic())))
}
