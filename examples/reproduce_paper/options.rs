//! The command line of the experiment.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use histoguard::data::Augmentation;
use histoguard::pixels::Epsilon;
use histoguard::train::TrainingConfig;
use serde::Serialize;

use crate::common::Failure;

/// Li & Liu, Bioengineering 2023, 10, 973: trains DenseNet-121 with and without Gaussian noise, attacks both
/// with FGSM, and writes the paper's tables and figures for it.
#[derive(Clone, Debug, Parser, Serialize)]
pub struct Options {
    /// The BreakHis folder; without it, drawn tissue takes its place.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Which BreakHis images: the paper's (100X, benign and ductal carcinoma), or all found [default: paper].
    #[arg(long, value_enum)]
    pub subset: Option<Subset>,
    /// Number of drawn images, half of them malignant.
    #[arg(long, default_value_t = 400, conflicts_with = "data")]
    pub images: usize,
    /// Leave out images that cannot be read, and count them, instead of stopping.
    #[arg(long)]
    pub skip_damaged: bool,
    /// Checkpoint to start both models from; a classifier of another width is replaced.
    #[arg(long)]
    pub init: Option<PathBuf>,
    /// Passes over the training images [default: the paper's 400; 12 on drawn tissue].
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Side of the images in pixels [default: the paper's 224; 96 on drawn tissue].
    #[arg(long)]
    pub image_size: Option<usize>,
    /// Images a training step.
    #[arg(long, default_value_t = 32)]
    pub batch_size: usize,
    /// Adam's step size.
    #[arg(long, default_value_t = 1e-3)]
    pub learning_rate: f64,
    /// Standard deviation of the defence's noise on the [0,1] scale; several train a defence each.
    #[arg(long, value_delimiter = ',', default_value = "0.1")]
    pub sigma: Vec<f64>,
    /// FGSM budgets in grey levels (of 255).
    #[arg(long, value_delimiter = ',', default_value = "0,0.5,1,2,4,8,16")]
    pub epsilons: Vec<f64>,
    /// What stays on one side of the split [default: image, as in the paper].
    #[arg(long, value_enum)]
    pub split: Option<By>,
    /// One of BreakHis's fold files (dsfold1.txt ...), instead of --split.
    #[arg(long, conflicts_with = "split")]
    pub fold_file: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where the report, the figures and the checkpoints go.
    #[arg(long, default_value = "reproduce_paper_out")]
    #[serde(skip)]
    pub out: PathBuf,
    /// Go on with an unfinished run in --out.
    #[arg(long)]
    #[serde(skip)]
    pub resume: bool,
}

/// Which BreakHis images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subset {
    /// 100X, all benign subtypes and ductal carcinoma.
    Paper,
    /// Everything found.
    All,
}

/// What stays on one side of the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Nothing but the image, as in the paper: a patient can be on both sides.
    Image,
    /// A slide.
    Slide,
    /// All slides of one stem, which may be one patient.
    Stem,
}

impl Options {
    /// Passes over the training images.
    pub fn epochs(&self) -> usize {
        self.epochs.unwrap_or(if self.data.is_some() { TrainingConfig::paper().epochs } else { 12 })
    }

    /// Side of the images in pixels.
    pub fn image_size(&self) -> usize {
        self.image_size.unwrap_or(if self.data.is_some() { TrainingConfig::paper().image_size } else { 96 })
    }

    /// The budgets of the sweep; zero is always among them.
    pub fn epsilons(&self) -> Vec<Epsilon> {
        std::iter::once(0.0).chain(self.epsilons.iter().copied()).map(Epsilon::pixels).collect()
    }

    /// The settings of one training.
    pub fn training(&self) -> TrainingConfig {
        TrainingConfig {
            epochs: self.epochs(),
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            image_size: self.image_size(),
            augmentation: Some(Augmentation::paper()),
            seed: self.seed,
            ..TrainingConfig::paper()
        }
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
        let breakhis_only = [("--subset", self.subset.is_some()), ("--fold-file", self.fold_file.is_some())];
        if let Some((option, _)) = breakhis_only.iter().find(|(_, given)| *given && self.data.is_none()) {
            return Err(Failure::wrong(format!(
                "{option}: expected --data with it: it chooses BreakHis images"
            )));
        }
        if self.images < 20 || self.images % 2 == 1 {
            let found = self.images;
            return Err(Failure::wrong(format!(
                "--images: expected an even number of at least 20, found {found}"
            )));
        }
        Ok(())
    }
}
