//! The command line of the experiment.

use std::path::PathBuf;

use clap::Parser;
use histoguard::data::Augmentation;
use histoguard::pixels::{Budget, Epsilon};
use histoguard::train::TrainingConfig;
use serde::Serialize;

use crate::common::failure::Failure;
use crate::common::images::ImageOptions;
use crate::common::network::Networks;

/// Li & Liu, Bioengineering 2023, 10, 973: trains DenseNet-121 with and without Gaussian noise, attacks both
/// with FGSM, and writes the paper's tables and figures for it.
#[derive(Clone, Debug, Parser, Serialize)]
pub struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    pub images: ImageOptions,
    /// Checkpoint to start both models from; a classifier of another width is replaced.
    #[arg(long)]
    pub init: Option<PathBuf>,
    /// Passes over the training images [default: the paper's 400; 12 on drawn tissue].
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Images a training step.
    #[arg(long, default_value_t = 32)]
    pub batch_size: usize,
    /// Adam's step size.
    #[arg(long, default_value_t = 1e-3)]
    pub learning_rate: f64,
    /// Standard deviation of the defense's noise on the [0,1] scale; several train a defense each.
    #[arg(long, value_delimiter = ',', default_value = "0.1")]
    pub sigma: Vec<f64>,
    /// FGSM budgets in grey levels (of 255).
    #[arg(long, value_delimiter = ',', default_value = "0,0.5,1,2,4,8,16")]
    pub epsilons: Vec<f64>,
    /// Where the report, the figures and the checkpoints go.
    #[arg(long, default_value = "reproduce_paper_out")]
    #[serde(skip)]
    pub out: PathBuf,
    /// Go on with an unfinished run in --out.
    #[arg(long)]
    #[serde(skip)]
    pub resume: bool,
}

impl Options {
    /// Passes over the training images.
    pub fn epochs(&self) -> usize {
        self.epochs.unwrap_or(if self.images.data.is_some() { TrainingConfig::paper().epochs } else { 12 })
    }

    /// The budgets of the sweep; zero is always among them.
    pub fn budgets(&self) -> Vec<Budget> {
        std::iter::once(0.0).chain(self.epsilons.iter().copied()).map(Budget::pixels).collect()
    }

    /// The settings of one training.
    pub fn training(&self) -> TrainingConfig {
        TrainingConfig {
            epochs: self.epochs(),
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            image_size: self.images.image_size(),
            augmentation: Some(Augmentation::paper()),
            seed: self.images.seed,
            ..TrainingConfig::paper()
        }
    }

    /// Where the two networks start, and where they go.
    pub fn networks(&self) -> Networks<'_> {
        let Self { images, init, out, resume, .. } = self;
        Networks { images, init: init.as_deref(), out, resume: *resume }
    }

    /// Refuses what cannot work, before any image is read.
    pub fn check(&self) -> Result<(), Failure> {
        self.training().check()?;
        for &sigma in &self.sigma {
            if !(sigma.is_finite() && sigma > 0.0) {
                return Err(Failure::wrong(format!("--sigma: expected numbers above 0, found {sigma}")));
            }
        }
        for &epsilon in &self.epsilons {
            if !Epsilon::pixels(epsilon).is_valid() {
                return Err(Failure::wrong(format!(
                    "--epsilons: expected numbers of at least 0, found {epsilon}"
                )));
            }
        }
        if self.sigma.is_empty() || self.epsilons.is_empty() {
            return Err(Failure::wrong("--sigma and --epsilons: expected at least one number each"));
        }
        self.images.check()
    }
}
