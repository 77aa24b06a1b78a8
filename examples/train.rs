//! Trains a DenseNet-121 on any folder of classes and saves a checkpoint for `reproduce_paper --init`.
//!
//! `cargo run --release --example train -- --data chest_xray --out chest_xray.safetensors --epochs 2`

mod common {
    pub mod checkpoint;
    pub mod devices;
    pub mod failure;
    pub mod interrupt;
    pub mod output;
    pub mod program;
    pub mod verify;
}

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use common::checkpoint::noted;
use common::devices::device_by_name;
use common::failure::Failure;
use common::output::{note, say};
use common::{interrupt, program, verify};
use histoguard::data::{Augmentation, FolderSet, FolderSplit, ImageSet, OnError, Split, TrainingRecord};
use histoguard::defense::GaussianNoise;
use histoguard::prelude::*;
use histoguard::train::{DataParallel, Schedule, SharedOptimizer, TrainError, Trainer, TrainingConfig};
use histoguard::weights;

/// Trains a DenseNet-121 on a folder of images, one folder a class.
#[derive(Debug, Parser)]
struct Options {
    /// Folder with one folder a class, or with such folders called train, val and test.
    #[arg(long)]
    data: PathBuf,
    /// The checkpoint to write: safetensors with torchvision's names.
    #[arg(long)]
    out: PathBuf,
    /// Checkpoint to start from; a classifier of another width is replaced.
    #[arg(long)]
    init: Option<PathBuf>,
    /// Passes over the training images.
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    /// Images a step.
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Adam's step size.
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// Keep the step size instead of taking it down to zero along a cosine.
    #[arg(long)]
    constant_rate: bool,
    /// The images have no top, like tissue: flip them top to bottom too, and crop more, as the paper's
    /// training does.
    #[arg(long)]
    no_top: bool,
    /// Side of the images in pixels.
    #[arg(long, default_value_t = 224)]
    image_size: usize,
    /// Standard deviation of Gaussian training noise on the [0,1] scale.
    #[arg(long)]
    sigma: Option<f64>,
    /// Train on other laboratories' stains, so far from the image's own: 0.05 is light, 0.2 strong.
    #[arg(long, conflicts_with = "sigma")]
    stain: Option<f64>,
    /// Leave out images that cannot be read, and count them, instead of stopping.
    #[arg(long)]
    skip_damaged: bool,
    /// Devices that share every step: cpu, cuda:0, wgpu or ws://HOST:PORT, as far as they were compiled in; the
    /// same one may be named twice.
    #[arg(long = "device", value_name = "DEVICE")]
    devices: Vec<String>,
    /// Give each device a part of the weights to move, with the optimizer's state, and not all to the first.
    #[arg(long, requires = "devices")]
    sharded_optimizer: bool,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Go on from the last checkpoint.
    #[arg(long)]
    resume: bool,
}

fn main() -> ExitCode {
    program::run(|options: Options| train(&options))
}

fn train(options: &Options) -> Result<(), Failure> {
    let (interrupter, _) = interrupt::on_interrupt()?;
    if options.out.is_dir() || options.out.extension().is_some_and(|extension| extension == "training") {
        return Err(Failure::wrong(format!(
            "{}: expected a file name like model.safetensors, found a folder or the ending of its checkpoints",
            options.out.display()
        )));
    }
    let (training, validation) = open(&options.data, options.seed, verify::policy(options.skip_damaged))?;
    let training = verify::readable(training, options.skip_damaged)?;
    let validation = verify::readable(validation, options.skip_damaged)?;
    note(format_args!("training on {}\nvalidation on {}", training.describe(), validation.describe()));

    let device = Device::default();
    let mut net = DenseNetConfig::densenet121(training.classes().len()).init_seeded(&device, options.seed);
    if let Some(init) = &options.init {
        net = weights::load_features(net, noted(init))?;
    }
    let model = Normalized::new(net, Normalization::IMAGENET);
    let config = TrainingConfig {
        epochs: options.epochs,
        batch_size: options.batch_size,
        learning_rate: options.learning_rate,
        schedule: if options.constant_rate { Schedule::Constant } else { Schedule::Cosine },
        image_size: options.image_size,
        augmentation: Some(if options.no_top { Augmentation::paper() } else { Augmentation::upright() }),
        seed: options.seed,
        ..TrainingConfig::paper()
    };
    let mut trainer = Trainer::new(config)
        .directory(options.out.with_extension("training"))
        .settings(serde_json::json!({ "data": options.data, "init": options.init, "classes": training.classes(), "images": [training.len(), validation.len()] }))
        .resume(options.resume)
        .interrupter(interrupter)
        .label("train");
    if !options.devices.is_empty() {
        let devices = options.devices.iter().map(|name| device_by_name(name));
        let devices = DataParallel::new(devices.collect::<Result<Vec<_>, _>>()?);
        trainer = trainer.data_parallel(match options.sharded_optimizer {
            true => devices.optimizer(SharedOptimizer::Sharded),
            false => devices,
        });
    }
    if let Some(sigma) = options.sigma {
        trainer = trainer.objective(GaussianNoise::new(sigma).with_seed(options.seed));
    }
    if let Some(strength) = options.stain {
        trainer = trainer.objective(StainAugmentation::new(strength).with_seed(options.seed));
    }
    let trained = trainer.fit(model, &training, &validation).map_err(|error| match error {
        TrainError::Interrupted { .. } => interrupt::interrupted(format!("{error} (--resume)")),
        TrainError::Unfinished { .. } => Failure::wrong(format!("{error} (--resume)")),
        error => error.into(),
    })?;
    weights::save_safetensors(&trained.model.network, &options.out)?;
    let settings = serde_json::json!({ "image_size": options.image_size });
    TrainingRecord::new(&training, &validation)?.with_settings(settings).write_beside(&options.out)?;
    let best = &trained.history.epochs[trained.best_epoch - 1];
    say(format_args!(
        "best epoch {}: validation accuracy {:.1} % of {} images, saved to {}",
        trained.best_epoch,
        100.0 * best.validation_accuracy,
        validation.len(),
        options.out.display()
    ))?;
    Ok(())
}

/// The folders of a split if there are some, else a split of the images by class; where there is no folder of
/// validation images, a tenth of the training images.
fn open(data: &Path, seed: u64, on_error: OnError) -> Result<(ImageSet, ImageSet), Failure> {
    let options = FolderSet::options().on_error(on_error);
    if !FolderSplit::is_at(data)? {
        let images = options.open(data)?;
        images.skipped().iter().for_each(|skipped| note(format_args!("left out: {}", skipped.reason)));
        let split = Split::by_image(&images.all(), [0.8, 0.1, 0.1], seed)?;
        return Ok((split.train, split.validation));
    }
    let sides = FolderSplit::open_with(options, data)?;
    sides.skipped().iter().for_each(|skipped| note(format_args!("left out: {}", skipped.reason)));
    if let Some(validation) = sides.validation() {
        return Ok((sides.train(), validation));
    }
    let split = sides.split(0.1, seed)?;
    Ok((split.train, split.validation))
}
