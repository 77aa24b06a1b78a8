//! Learns a generator of adversarial examples from the training images, and reports it on the test images
//! beside a random perturbation, FGSM and PGD.
//!
//! `cargo run --release --example advgan -- reproduce_paper_out/original.safetensors --epsilon 8`

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
}

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::activation::softmax;
use clap::{CommandFactory, Parser, ValueEnum};
use common::checkpoint::noted;
use common::failure::Failure;
use common::images::ImageOptions;
use common::learning::{class, same_work, stop_with};
use common::output::{note, say};
use common::recorded::Recorded;
use common::{images, interrupt, program};
use histoguard::attack::{
    AdvGan, AdvGanPlusPlus, Distillation, DistilledCopy, GanSchedule, GanTraining, StepLosses,
    UniversalPerturbation,
};
use histoguard::classifier::FrozenFeatures;
use histoguard::data::{LabeledImages, Prepared};
use histoguard::evaluate::Fooling;
use histoguard::file::{FolderLock, IoError, write_whole};
use histoguard::prelude::*;
use histoguard::report::DataSummary;
use histoguard::report::figures::{AdversarialExample, AdversarialPanel, Figure};
use serde::Serialize;

/// Images in the picture.
const PICTURES: usize = 6;

/// Learns a generator of perturbations (AdvGAN) or of images (AdvGAN++) against a DenseNet-121 checkpoint
/// from training images, reports how many test images it breaks beside a random perturbation, FGSM and PGD,
/// and writes advgan.safetensors, advgan.png (broken test images) and advgan.json, beside
/// training.safetensors and learned_from.json. The same command goes on where it was interrupted.
#[derive(Clone, Debug, Parser, Serialize)]
struct Options {
    /// Checkpoint: safetensors or PyTorch state dict with torchvision's names.
    checkpoint: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    images: ImageOptions,
    /// What is learned: a generator of perturbations against the network itself, the same against a copy that
    /// learns from the network's answers alone, or a generator of images from the network's features.
    #[arg(long, value_enum, default_value = "advgan")]
    method: Method,
    /// L-infinity budget in gray levels (of 255).
    #[arg(long, default_value_t = 8.0)]
    epsilon: f64,
    /// Passes over the training images.
    #[arg(long, default_value_t = 60)]
    epochs: usize,
    /// Passes over the training images in which the copy of a black box learns before.
    #[arg(long, default_value_t = 10)]
    copy_epochs: usize,
    /// Adam's, of all networks that learn.
    #[arg(long, default_value_t = 0.001)]
    learning_rate: f64,
    /// Channels of the first convolution of generator and discriminator.
    #[arg(long, default_value_t = 8)]
    width: usize,
    /// Learn towards this class instead of away from the true ones.
    #[arg(long)]
    target: Option<String>,
    /// Images at a time.
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Where everything goes.
    #[arg(long, default_value = "advgan_out")]
    #[serde(skip)]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Method {
    #[value(name = "advgan")]
    AdvGan,
    BlackBox,
    PlusPlus,
}

type Model = Normalized<DenseNet>;

/// What is learned, and on what.
struct Learner<'a> {
    options: &'a Options,
    victim: Frozen,
    features: FrozenFeatures,
    train: Prepared,
    target: Option<usize>,
}

impl Learner<'_> {
    fn advgan(&self) -> AdvGan {
        AdvGan::new(self.budget()).with_width(self.options.width).with_schedule(self.schedule())
    }

    fn plus_plus(&self) -> AdvGanPlusPlus {
        AdvGanPlusPlus::new(self.budget()).with_width(self.options.width).with_schedule(self.schedule())
    }

    fn budget(&self) -> Budget {
        Budget::pixels(self.options.epsilon)
    }

    fn schedule(&self) -> GanSchedule {
        let Options { epochs, batch_size, learning_rate, images, .. } = self.options;
        GanSchedule::new()
            .with_epochs(*epochs)
            .with_batch_size(*batch_size)
            .with_learning_rate(*learning_rate)
            .with_seed(images.seed)
    }

    fn shape(&self) -> [usize; 3] {
        let size = self.options.images.image_size();
        [3, size, size]
    }

    fn images(&self, positions: &[usize]) -> Result<(Tensor<4>, Goal), Failure> {
        let batch = self.train.batch(positions, self.victim.device())?;
        let goal = match self.target {
            Some(class) => Goal::targeted(vec![class; positions.len()]),
            None => Goal::untargeted(batch.labels),
        };
        Ok((batch.images, goal))
    }

    /// A small DenseNet that is to answer as the checkpoint does.
    fn blank_copy(&self) -> Result<DistilledCopy<Model>, Failure> {
        let Options { copy_epochs, batch_size, learning_rate, images, .. } = self.options;
        let config = DenseNetConfig::new(self.victim.num_classes())
            .with_growth_rate(12)
            .with_block_config(vec![4, 4, 4])
            .with_num_init_features(24);
        let net =
            Normalized::new(config.init_seeded(&Device::default(), images.seed), Normalization::IMAGENET);
        let distillation = Distillation::new()
            .with_epochs(*copy_epochs)
            .with_batch_size(*batch_size)
            .with_learning_rate(*learning_rate)
            .with_seed(images.seed);
        Ok(DistilledCopy::new(net, distillation, self.shape())?)
    }

    /// The copy after its own epochs, saved after each.
    fn copy(&self) -> Result<DistilledCopy<Model>, Failure> {
        let path = self.options.out.join("copy.safetensors");
        let mut copy = self.blank_copy()?;
        if path.exists() {
            copy = copy.load(&path)?;
        }
        while !copy.origin().finished {
            self.heeded(copy.pass(&self.victim, self.train.len(), |positions| self.images(positions)))?;
            copy.save(&path)?;
            note(format_args!(
                "copy: epochs over {} training images: {}",
                self.train.len(),
                copy.origin().passes
            ));
        }
        Ok(copy)
    }

    /// What a pass gave, or that it was stopped.
    fn heeded<T>(&self, passed: Result<T, Failure>) -> Result<T, Failure> {
        if self.victim.watch().is_stopped() {
            let message = "stopped; the same command goes on after the last whole epoch";
            return Err(interrupt::interrupted(message));
        }
        passed
    }

    /// All epochs, saved after each.
    fn learn(&self) -> Result<(Box<dyn Attack>, GanTraining), Failure> {
        let path = self.options.out.join("training.safetensors");
        let mut copy = match self.options.method {
            Method::BlackBox => Some(self.copy()?),
            _ => None,
        };
        let mut training = match (path.exists(), self.options.method, &copy) {
            (true, ..) => GanTraining::load(&path)?,
            (_, _, Some(copy)) => self.advgan().start_black_box(copy, self.shape())?,
            (_, Method::PlusPlus, _) => self.plus_plus().start(&self.features, self.shape())?,
            _ => self.advgan().start(self.shape())?,
        };
        while !training.origin().finished {
            let (count, images) = (self.train.len(), |positions: &[usize]| self.images(positions));
            let passed = match (self.options.method, &mut copy) {
                (Method::PlusPlus, _) => {
                    self.plus_plus().pass(&self.victim, &self.features, &mut training, count, images)
                }
                (_, Some(copy)) => {
                    self.advgan().pass_black_box(&self.victim, copy, &mut training, count, images)
                }
                _ => self.advgan().pass(&self.victim, &mut training, count, images),
            };
            self.heeded(passed)?;
            training.save(&path)?;
            let losses = training.losses().last().copied().unwrap_or_default();
            let StepLosses { discriminator, gan, adversarial, .. } = losses;
            note(format_args!(
                "epoch {}/{}: margin of the target {adversarial:.4}, generator {gan:.4}, discriminator {discriminator:.4}",
                training.origin().passes,
                self.options.epochs
            ));
        }
        let file = self.options.out.join("advgan.safetensors");
        let attack: Box<dyn Attack> = if self.options.method == Method::PlusPlus {
            let attack = self.plus_plus().attack(&training, &self.features)?;
            attack.save(&file)?;
            Box::new(attack)
        } else {
            let attack = self.advgan().attack(&training, self.victim.device())?;
            attack.save(&file)?;
            Box::new(attack)
        };
        Ok((attack, training))
    }
}

fn main() -> ExitCode {
    program::run(|options: Options| advgan(&options))
}

fn advgan(options: &Options) -> Result<(), Failure> {
    let given = Options::command().get_matches();
    let recorded = Recorded::read(std::slice::from_ref(&options.checkpoint), &given)?;
    let options = &Options { images: recorded.complete(&options.images, &given), ..options.clone() };
    options.images.check()?;
    let size = options.images.image_size();
    let split = recorded.split(&options.images)?;
    let train = Prepared::new(split.train.clone(), size)?;
    let test = Prepared::new(split.test.clone(), size)?;
    let target = options.target.as_ref().map(|name| class(&train, name)).transpose()?;
    let net = DenseNetConfig::densenet121(train.classes().len()).init(&Device::default());
    let net = Normalized::new(weights::load(net, noted(&options.checkpoint))?, Normalization::IMAGENET);
    let (victim, features) = (Frozen::new(net.clone()), FrozenFeatures::new(net));
    victim.check([3, size, size])?;
    let learner = Learner { options, victim, features, train, target };
    // Wrong settings end it before anything is written.
    learner.advgan().start(learner.shape())?;
    learner.blank_copy()?;

    let _lock = FolderLock::take(&options.out)?;
    same_work(options, &options.checkpoint, &options.out)?;
    let (_, stop) = interrupt::on_interrupt()?;
    stop_with(&learner.victim, stop);
    let asked = learner.victim.watch().queries();
    let (attack, training) = learner.learn()?;
    let asked = learner.victim.watch().queries() - asked;
    note(format_args!("queries of this run: {} forwards, {} gradients", asked.forwards, asked.gradients));
    let described = format!("{}, {} test images", options.images.describe(), test.len());
    let mut data = images::summary(&options.images, &split, described);
    data.notes.extend(recorded.notes(test.images())?);
    data.notes.iter().for_each(|said| note(format_args!("note: {said}")));
    report(&learner, &*attack, &training, &test, data)
}

/// An attack on the test images.
#[derive(Serialize)]
struct Row {
    attack: String,
    fooling: Fooling,
    /// Of one batch, without the victim's answers before and after.
    milliseconds_an_image: f64,
}

/// What advgan.json holds.
#[derive(Serialize)]
struct Figures<'a> {
    options: &'a Options,
    learned: serde_json::Value,
    data: DataSummary,
    losses: &'a [StepLosses],
    attacks: Vec<Row>,
}

/// The figures on the test images, and the picture.
fn report(
    learner: &Learner<'_>,
    attack: &dyn Attack,
    training: &GanTraining,
    test: &Prepared,
    data: DataSummary,
) -> Result<(), Failure> {
    let (options, budget) = (learner.options, learner.budget());
    let random =
        UniversalPerturbation::random(budget, learner.shape(), options.images.seed, learner.victim.device())?;
    let (fgsm, pgd) = (Fgsm::new(budget), Pgd::new(budget).with_steps(20));
    let mut attacks = Vec::new();
    say(format_args!("within {budget} on {} test images, right ones broken:", test.len()))?;
    for attack in [attack, &random, &fgsm, &pgd] {
        let row = Row {
            attack: attack.profile().name,
            fooling: Fooling::of(&learner.victim, attack, test, options.batch_size)?,
            milliseconds_an_image: milliseconds(learner, attack, test)?,
        };
        say(format_args!(
            "{:<22} {}, {:.1} ms an image",
            row.attack, row.fooling.broken, row.milliseconds_an_image
        ))?;
        for flip in &row.fooling.flips {
            say(format_args!("  {} taken for {}: {}", flip.from, flip.to, flip.images))?;
        }
        attacks.push(row);
    }
    panel(learner, attack, test)?.save(&options.out.join("advgan.png"))?;
    let learned = attack.settings();
    let figures = Figures { options, learned, data, losses: training.losses(), attacks };
    write_json(&options.out.join("advgan.json"), &figures)?;
    say(format_args!("generator, picture and figures in {}", options.out.display()))?;
    Ok(())
}

fn write_json(path: &Path, figures: &Figures<'_>) -> Result<(), Failure> {
    let text = format!("{}\n", serde_json::to_string_pretty(figures)?);
    Ok(write_whole(path, text.as_bytes()).map_err(IoError::at(path, "a file to write"))?)
}

fn milliseconds(learner: &Learner<'_>, attack: &dyn Attack, test: &Prepared) -> Result<f64, Failure> {
    let positions: Vec<usize> = (0..test.len().min(learner.options.batch_size)).collect();
    let batch = test.batch(&positions, learner.victim.device())?;
    let goal = Goal::untargeted(batch.labels).with_indices(batch.indices);
    let started = Instant::now();
    let moved = attack.perturb(&learner.victim, batch.images, &goal)?;
    // Devices that work on their own are done when a value is there.
    moved.max().into_scalar::<f32>();
    Ok(started.elapsed().as_secs_f64() * 1e3 / positions.len() as f64)
}

/// Test images that the attack breaks, malignant ones first; if it breaks none, the first ones.
fn panel(learner: &Learner<'_>, attack: &dyn Attack, test: &Prepared) -> Result<AdversarialPanel, Failure> {
    let (victim, classes) = (&learner.victim, test.classes());
    let mut positions: Vec<usize> = (0..test.len()).collect();
    positions.sort_by_key(|&position| std::cmp::Reverse(test.label(position)));
    let (mut broken, mut others) = (Vec::new(), Vec::new());
    for position in positions {
        if broken.len() == PICTURES {
            break;
        }
        let batch = test.batch(&[position], victim.device())?;
        let goal = Goal::untargeted(batch.labels).with_indices(batch.indices);
        let adversarial = attack.perturb(victim, batch.images.clone(), &goal)?;
        let verdict = |images: Tensor<4>| {
            let logits = victim.logits(images);
            let answer = histoguard::classifier::predictions(logits.clone())[0];
            let probability = softmax(logits, 1).max().into_scalar::<f32>();
            (answer, f64::from(probability))
        };
        let (before, after) = (verdict(batch.images.clone()), verdict(adversarial.clone()));
        let named = |(class, probability): (usize, f64)| (classes[class].clone(), probability);
        let label = test.label(position);
        let example = AdversarialExample {
            name: test.name(position),
            truth: classes[label].clone(),
            before: named(before),
            after: named(after),
            original: batch.images.squeeze_dim(0),
            adversarial: adversarial.squeeze_dim(0),
        };
        match (before.0 == label, after.0 == label) {
            (true, false) => broken.push(example),
            _ if others.len() < PICTURES => others.push(example),
            _ => {}
        }
    }
    let examples = if broken.is_empty() { others } else { broken };
    let title = format!("{} within {}, test images", attack.profile().name, learner.budget());
    Ok(AdversarialPanel::new(title, examples).synthetic(test.is_synthetic()))
}
