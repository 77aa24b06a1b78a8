//! Trains a DenseNet-121 on any folder of classes and saves a checkpoint for `reproduce_paper --init`.
//!
//! `cargo run --release --example train -- --data chest_xray --out chest_xray.safetensors --epochs 2`

mod common {
    pub mod failure;
    pub mod interrupt;
    pub mod output;
    pub mod program;
    pub mod verify;
}

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use common::failure::Failure;
use common::output::{note, say};
use common::{interrupt, program, verify};
use histoguard::data::{Augmentation, FolderSet, ImageSet, Split};
use histoguard::defense::GaussianNoise;
use histoguard::prelude::*;
use histoguard::train::{Schedule, TrainError, Trainer, TrainingConfig};
use histoguard::weights;

/// Trains a DenseNet-121 on a folder of images, one folder a class.
#[derive(Debug, Parser)]
struct Options {
    /// Folder with one folder a class, or with such a `train` and a `val` folder.
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
    /// The images have no top, like tissue: flip them top to bottom too, and crop more, as the paper's training does.
    #[arg(long)]
    no_top: bool,
    /// Side of the images in pixels.
    #[arg(long, default_value_t = 224)]
    image_size: usize,
    /// Standard deviation of Gaussian training noise on the [0,1] scale.
    #[arg(long)]
    sigma: Option<f64>,
    /// Leave out images that cannot be read, and count them, instead of stopping.
    #[arg(long)]
    skip_damaged: bool,
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
    let (training, validation) = open(&options.data, options.seed)?;
    let training = verify::readable(training, options.skip_damaged)?;
    let validation = verify::readable(validation, options.skip_damaged)?;
    note(format_args!("training on {}\nvalidation on {}", training.describe(), validation.describe()));

    let device = Device::default();
    let mut net = DenseNetConfig::densenet121(training.classes().len()).init_seeded(&device, options.seed);
    if let Some(init) = &options.init {
        net = weights::load_features(net, init)?;
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
    if let Some(sigma) = options.sigma {
        trainer = trainer.objective(GaussianNoise::new(sigma).with_seed(options.seed));
    }
    let trained = trainer.fit(model, &training, &validation).map_err(|error| match error {
        TrainError::Interrupted { .. } => interrupt::interrupted(format!("{error} (--resume)")),
        TrainError::Unfinished { .. } => Failure::wrong(format!("{error} (--resume)")),
        error => error.into(),
    })?;
    weights::save_safetensors(&trained.model.network, &options.out)?;
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

/// `train` and `val` below the folder if it has them, else a split of its images by class.
fn open(data: &Path, seed: u64) -> Result<(ImageSet, ImageSet), Failure> {
    let (train, validation) = (data.join("train"), data.join("val"));
    if train.is_dir() && validation.is_dir() {
        let (train, validation) = (FolderSet::open(&train)?.all(), FolderSet::open(&validation)?.all());
        if train.classes() != validation.classes() {
            return Err(Failure::wrong(format!(
                "{}: expected the same classes in train and val, found {:?} and {:?}",
                data.display(),
                train.classes(),
                validation.classes()
            )));
        }
        return Ok((train, validation));
    }
    let split = Split::by_image(&FolderSet::open(data)?.all(), [0.8, 0.1, 0.1], seed)?;
    Ok((split.train, split.validation))
}
