//! Learns a patch that is laid on any image from the training images, and reports it on the test images.
//!
//! `cargo run --release --example patch -- reproduce_paper_out/original.safetensors --target benign`

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

use clap::{CommandFactory, Parser};
use common::failure::Failure;
use common::images::ImageOptions;
use common::learning::{class, same_work, stop_with};
use common::output::{note, say};
use common::recorded::Recorded;
use common::{images, interrupt, program, victim};
use histoguard::attack::{AdversarialPatch, Patch, PatchOptimizer, PatchShape};
use histoguard::data::{LabeledImages, Prepared, png};
use histoguard::evaluate::{AtScale, PatchSuccess, PatchTrial};
use histoguard::file::{FolderLock, IoError, write_whole};
use histoguard::prelude::*;
use histoguard::report::DataSummary;
use serde::Serialize;

/// Learns an adversarial patch against a DenseNet checkpoint from training images, in the expectation
/// over places, scales and rotations, reports how many test images it fools beside a random patch in the same
/// places, and writes patch.safetensors, patch.png, test images with it (patched_1.png and so on) and
/// patch.json, beside learned_from.json. The same command goes on where it was interrupted.
#[derive(Clone, Debug, Parser, Serialize)]
struct Options {
    /// Checkpoint: safetensors or PyTorch state dict with torchvision's names.
    checkpoint: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    images: ImageOptions,
    /// Learn towards this class, from images of the others, instead of away from the true ones.
    #[arg(long)]
    target: Option<String>,
    /// Side of the patch in its own pixels [default: half of the images'].
    #[arg(long)]
    size: Option<usize>,
    /// A square instead of a disc.
    #[arg(long)]
    square: bool,
    /// Passes over the training images.
    #[arg(long, default_value_t = 50)]
    passes: usize,
    /// Steps along the gradient's sign instead of Adam's.
    #[arg(long)]
    sign: bool,
    /// Size of a step in gray levels (of 255).
    #[arg(long, default_value_t = 5.0)]
    learning_rate: f64,
    /// The largest rotation in either direction, in degrees.
    #[arg(long, default_value_t = 22.5)]
    rotation: f64,
    /// The smallest side while it is learned, as a share of the image's.
    #[arg(long, default_value_t = 0.2)]
    scale_min: f64,
    /// The largest side.
    #[arg(long, default_value_t = 0.5)]
    scale_max: f64,
    /// Images at a time.
    #[arg(long, default_value_t = 16)]
    batch_size: usize,
    /// Sides that are reported, as shares of the image's.
    #[arg(long, value_delimiter = ',', default_value = "0.1,0.2,0.3,0.4,0.5")]
    #[serde(skip)]
    scales: Vec<f64>,
    /// Places of each test image in the report.
    #[arg(long, default_value_t = 4)]
    #[serde(skip)]
    places: usize,
    /// Test images that are drawn with the patch.
    #[arg(long, default_value_t = 4)]
    #[serde(skip)]
    pictures: usize,
    /// Where the patch and the figures go.
    #[arg(long, default_value = "patch_out")]
    #[serde(skip)]
    out: PathBuf,
}

/// What patch.json holds.
#[derive(Serialize)]
struct Figures<'a> {
    options: &'a Options,
    patch: &'a Patch,
    data: DataSummary,
    trial: &'a PatchTrial,
    learned: &'a PatchSuccess,
    random: &'a PatchSuccess,
}

fn main() -> ExitCode {
    program::run(|options: Options| patch(&options))
}

fn learner(options: &Options) -> AdversarialPatch {
    let size = options.size.unwrap_or(options.images.image_size() / 2);
    AdversarialPatch::new(size)
        .with_shape(if options.square { PatchShape::Square } else { PatchShape::Circle })
        .with_optimizer(if options.sign { PatchOptimizer::Sign } else { PatchOptimizer::Adam })
        .with_passes(options.passes)
        .with_batch_size(options.batch_size)
        .with_learning_rate(Epsilon::pixels(options.learning_rate).value())
        .with_rotation_max(options.rotation)
        .with_scale_min(options.scale_min)
        .with_scale_max(options.scale_max)
        .with_seed(options.images.seed)
}

fn patch(options: &Options) -> Result<(), Failure> {
    let given = Options::command().get_matches();
    let recorded = Recorded::read(std::slice::from_ref(&options.checkpoint), &given)?;
    let options = &Options { images: recorded.complete(&options.images, &given), ..options.clone() };
    options.images.check()?;
    if let Some(bad) = options.scales.iter().find(|scale| !(**scale > 0.0 && **scale <= 1.0)) {
        return Err(Failure::wrong(format!("--scales: expected numbers above 0, up to 1, found {bad}")));
    }
    if options.places == 0 {
        return Err(Failure::wrong("--places: expected at least 1, found 0"));
    }
    let (device, size) = (Device::default(), options.images.image_size());
    let learner = learner(options);
    let start = learner.start([3, size, size], &device)?;
    let split = recorded.split(&options.images)?;
    let test = Prepared::new(split.test.clone(), size)?;
    let train = Prepared::new(split.train.clone(), size)?;
    let target = options.target.as_ref().map(|name| class(&train, name)).transpose()?;
    let others: Vec<usize> = (0..train.len()).filter(|&p| Some(train.label(p)) != target).collect();
    if others.is_empty() {
        return Err(Failure::wrong("--target: expected training images of another class, found none"));
    }
    let train = train.subset(&others);
    let victim = Frozen::new(victim::load(&options.checkpoint, train.classes().len())?);
    victim.check([3, size, size])?;

    let _lock = FolderLock::take(&options.out)?;
    same_work(options, &options.checkpoint, &options.out)?;
    let path = options.out.join("patch.safetensors");
    let mut learned = if path.exists() { Patch::load(&path, &device)? } else { start };
    let (_, stop) = interrupt::on_interrupt()?;
    stop_with(&victim, stop);
    loop {
        let passed = learner.pass(&victim, &mut learned, train.len(), |positions| {
            let batch = train.batch(positions, victim.device())?;
            let goal = match target {
                Some(class) => Goal::targeted(vec![class; positions.len()]),
                None => Goal::untargeted(batch.labels),
            };
            Ok::<_, Failure>((batch.images, goal))
        });
        if victim.watch().is_stopped() {
            let message = "stopped; the same command goes on after the last whole pass";
            return Err(interrupt::interrupted(message));
        }
        let left = passed?;
        learned.save(&path)?;
        note(format_args!(
            "passes over {} training images: {} of {}",
            train.len(),
            learned.origin().passes,
            options.passes
        ));
        if !left {
            break;
        }
    }
    let described = format!("{}, {} test images", options.images.describe(), test.len());
    let mut data = images::summary(&options.images, &split, described);
    data.notes.extend(recorded.notes(test.images())?);
    data.notes.iter().for_each(|said| note(format_args!("note: {said}")));
    report(options, &victim, &learned, &test, target, data)
}

/// The figures on the test images, and the pictures.
fn report(
    options: &Options,
    victim: &Frozen,
    learned: &Patch,
    test: &Prepared,
    target: Option<usize>,
    data: DataSummary,
) -> Result<(), Failure> {
    let (size, image, places) = (learned.size(), learned.image(), learned.places());
    let random = Patch::random(learned.shape(), size, image, places, learned.seed(), victim.device())?;
    let trial = PatchTrial {
        target,
        scales: options.scales.clone(),
        places: options.places,
        batch_size: options.batch_size,
    };
    let success = |patch| PatchSuccess::of(victim, patch, test, &trial);
    let (of_learned, of_random) = (success(learned)?, success(&random)?);
    let aim = match &of_learned.target {
        Some(class) => format!("images of other classes taken for {class}"),
        None => "right images broken".into(),
    };
    say(format_args!(
        "{aim}, by the patch in one place each and over {} places, in brackets by a random patch there:",
        options.places
    ))?;
    for (ours, theirs) in of_learned.scales.iter().zip(&of_random.scales) {
        line(ours, theirs)?;
    }
    let figures =
        Figures { options, patch: learned, data, trial: &trial, learned: &of_learned, random: &of_random };
    png::write(&png::to_rgb(learned.picture()), &options.out.join("patch.png"))?;
    draw(options, victim, learned, test, target)?;
    let json = options.out.join("patch.json");
    write_whole(&json, format!("{}\n", serde_json::to_string_pretty(&figures)?).as_bytes())
        .map_err(IoError::at(&json, "a file to write"))?;
    say(format_args!("patch, pictures and figures in {}", options.out.display()))?;
    Ok(())
}

fn line(ours: &AtScale, theirs: &AtScale) -> Result<(), Failure> {
    let percent = |share: Option<f64>| share.map_or("-".into(), |share| format!("{:.1} %", 100.0 * share));
    let scale = ours.scale.map_or("its own sides".into(), |scale| format!("side {scale} of the image"));
    let all = (&ours.images, ours.places, &theirs.images, theirs.places);
    let classes = ours.classes.iter().zip(&theirs.classes);
    let apart =
        classes.map(|(a, b)| (format!("  of {}", a.class), (&a.images, a.places, &b.images, b.places)));
    for (what, (images, places, control, control_places)) in std::iter::once((scale, all)).chain(apart) {
        say(format_args!(
            "{what:<26} {images}, {} ({control}, {})",
            percent(places),
            percent(control_places)
        ))?;
    }
    Ok(())
}

/// Test images that count, evenly spread, with the patch.
fn draw(
    options: &Options,
    victim: &Frozen,
    learned: &Patch,
    test: &Prepared,
    target: Option<usize>,
) -> Result<(), Failure> {
    let mut counting = Vec::new();
    for position in 0..test.len() {
        let (label, image) = (test.label(position), test.batch(&[position], victim.device())?.images);
        let answer = victim.predict(image)[0];
        let counts = target.map_or(answer == label, |target| answer != target && label != target);
        counting.extend(counts.then_some(position));
    }
    let count = options.pictures.min(counting.len());
    for number in 0..count {
        let position = counting[number * counting.len() / count];
        let batch = test.batch(&[position], victim.device())?;
        let goal = Goal::untargeted(batch.labels).with_indices(batch.indices);
        let patched = learned.perturb(victim, batch.images, &goal)?;
        let name = format!("patched_{}.png", number + 1);
        say(format_args!(
            "{name}: {}, taken for {} with the patch",
            test.classes()[test.label(position)],
            test.classes()[victim.predict(patched.clone())[0]]
        ))?;
        png::write(&png::to_rgb(patched.squeeze_dim(0)), &options.out.join(name))?;
    }
    Ok(())
}
