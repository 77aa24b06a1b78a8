//! Learns one perturbation for all images from the training images, and reports it on the test images.
//!
//! `cargo run --release --example universal -- reproduce_paper_out/original.safetensors --epsilon 8`

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

use clap::{CommandFactory, Parser, ValueEnum};
use common::failure::Failure;
use common::images::ImageOptions;
use common::learning::{class, same_work, stop_with};
use common::output::{note, say};
use common::recorded::Recorded;
use common::{images, interrupt, program, victim};
use histoguard::attack::{DeepFoolUap, SgdUap, UniversalPerturbation};
use histoguard::data::{LabeledImages, Prepared, png};
use histoguard::evaluate::Fooling;
use histoguard::file::{FolderLock, IoError, write_whole};
use histoguard::prelude::*;
use histoguard::report::DataSummary;
use serde::Serialize;

/// Learns a universal perturbation of a DenseNet checkpoint from training images, reports how many test
/// images it fools beside a random one as large, and writes universal.safetensors, universal.png (amplified)
/// and universal.json, beside learned_from.json. The same command goes on where it was interrupted.
#[derive(Clone, Debug, Parser, Serialize)]
struct Options {
    /// Checkpoint: safetensors or PyTorch state dict with torchvision's names.
    checkpoint: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    images: ImageOptions,
    /// How it is learned: by gradient steps over batches, or from DeepFool's way for each image.
    #[arg(long, value_enum, default_value = "sgd")]
    method: Method,
    /// L-infinity budget in gray levels (of 255).
    #[arg(long, default_value_t = 8.0)]
    epsilon: f64,
    /// Passes over the training images [default: 10 of sgd, at most 20 of deepfool].
    #[arg(long)]
    passes: Option<usize>,
    /// Learn towards this class instead of away from the true ones.
    #[arg(long)]
    target: Option<String>,
    /// Images at a time.
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Where the perturbation and the figures go.
    #[arg(long, default_value = "universal_out")]
    #[serde(skip)]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    Sgd,
    Deepfool,
}

/// What is learned, and how.
enum Learner {
    Sgd(SgdUap),
    DeepFool(DeepFoolUap),
}

impl Learner {
    fn new(options: &Options) -> Self {
        let (budget, seed) = (Budget::pixels(options.epsilon), options.images.seed);
        match options.method {
            Method::Sgd => {
                let sgd = SgdUap::new(budget).with_seed(seed).with_batch_size(options.batch_size);
                Self::Sgd(sgd.with_passes(options.passes.unwrap_or(sgd.passes)))
            }
            Method::Deepfool => {
                let deepfool = DeepFoolUap::new(budget).with_seed(seed).with_batch_size(options.batch_size);
                Self::DeepFool(deepfool.with_passes(options.passes.unwrap_or(deepfool.passes)))
            }
        }
    }

    fn start(&self, shape: [usize; 3], device: &Device) -> Result<UniversalPerturbation, AttackError> {
        match self {
            Self::Sgd(sgd) => sgd.start(shape, device),
            Self::DeepFool(deepfool) => deepfool.start(shape, device),
        }
    }

    fn pass(
        &self,
        victim: &Frozen,
        learned: &mut UniversalPerturbation,
        train: &Prepared,
        target: Option<usize>,
    ) -> Result<bool, Failure> {
        let images = |positions: &[usize]| -> Result<(Tensor<4>, Goal), Failure> {
            let batch = train.batch(positions, victim.device())?;
            let goal = match target {
                Some(class) => Goal::targeted(vec![class; positions.len()]),
                None => Goal::untargeted(batch.labels),
            };
            Ok((batch.images, goal))
        };
        match self {
            Self::Sgd(sgd) => sgd.pass(victim, learned, train.len(), images),
            Self::DeepFool(deepfool) => deepfool.pass(victim, learned, train.len(), images),
        }
    }
}

/// What universal.json holds.
#[derive(Serialize)]
struct Figures<'a> {
    options: &'a Options,
    perturbation: &'a UniversalPerturbation,
    data: DataSummary,
    learned: &'a Fooling,
    random: &'a Fooling,
}

fn main() -> ExitCode {
    program::run(|options: Options| universal(&options))
}

fn universal(options: &Options) -> Result<(), Failure> {
    let given = Options::command().get_matches();
    let recorded = Recorded::read(std::slice::from_ref(&options.checkpoint), &given)?;
    let options = &Options { images: recorded.complete(&options.images, &given), ..options.clone() };
    options.images.check()?;
    let learner = Learner::new(options);
    let (device, size) = (Device::default(), options.images.image_size());
    let start = learner.start([3, size, size], &device)?;
    let split = recorded.split(&options.images)?;
    let train = Prepared::new(split.train.clone(), size)?;
    let test = Prepared::new(split.test.clone(), size)?;
    let target = options.target.as_ref().map(|name| class(&train, name)).transpose()?;
    let victim = Frozen::new(victim::load(&options.checkpoint, train.classes().len())?);
    victim.check([3, size, size])?;

    let _lock = FolderLock::take(&options.out)?;
    same_work(options, &options.checkpoint, &options.out)?;
    let path = options.out.join("universal.safetensors");
    let mut learned = if path.exists() { UniversalPerturbation::load(&path, &device)? } else { start };
    let (_, stop) = interrupt::on_interrupt()?;
    stop_with(&victim, stop);
    loop {
        let passed = learner.pass(&victim, &mut learned, &train, target);
        if victim.watch().is_stopped() {
            let message = "stopped; the same command goes on after the last whole pass";
            return Err(interrupt::interrupted(message));
        }
        let left = passed?;
        learned.save(&path)?;
        note(format_args!("passes over {} training images: {}", train.len(), learned.origin().passes));
        if !left {
            break;
        }
    }
    let described = format!("{}, {} test images", options.images.describe(), test.len());
    let mut data = images::summary(&options.images, &split, described);
    data.notes.extend(recorded.notes(test.images())?);
    data.notes.iter().for_each(|said| note(format_args!("note: {said}")));
    report(options, &victim, &learned, &test, data)
}

/// The figures on the test images, and the picture.
fn report(
    options: &Options,
    victim: &Frozen,
    learned: &UniversalPerturbation,
    test: &Prepared,
    data: DataSummary,
) -> Result<(), Failure> {
    let [channels, height, width] = learned.values().dims();
    let shape = [channels, height, width];
    let random =
        UniversalPerturbation::random(learned.budget(), shape, options.images.seed, victim.device())?;
    let fooling = |perturbation| Fooling::of(victim, perturbation, test, options.batch_size);
    let (of_learned, of_random) = (fooling(learned)?, fooling(&random)?);
    say(format_args!(
        "{} within {} on {} test images, in brackets a random perturbation as large:",
        learned.origin().method,
        learned.budget(),
        test.len()
    ))?;
    say(format_args!("{:<32} {} ({})", "answers changed:", of_learned.changed, of_random.changed))?;
    say(format_args!("{:<32} {} ({})", "right ones broken:", of_learned.broken, of_random.broken))?;
    for (flip, control) in of_learned.flips.iter().zip(&of_random.flips) {
        let pair = format!("{} taken for {}:", flip.from, flip.to);
        say(format_args!("{pair:<32} {} ({})", flip.images, control.images))?;
    }
    let figures = Figures { options, perturbation: learned, data, learned: &of_learned, random: &of_random };
    let picture = options.out.join("universal.png");
    png::write(&png::to_rgb(learned.picture()), &picture)?;
    let json = options.out.join("universal.json");
    write_whole(&json, format!("{}\n", serde_json::to_string_pretty(&figures)?).as_bytes())
        .map_err(IoError::at(&json, "a file to write"))?;
    say(format_args!("perturbation, picture and figures in {}", options.out.display()))?;
    Ok(())
}
