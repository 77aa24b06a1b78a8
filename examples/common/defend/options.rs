//! The command line of the comparison.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use histoguard::data::Augmentation;
use histoguard::defense::Smoothing;
use histoguard::parameter::{self, Parameter};
use histoguard::prelude::*;
use histoguard::train::{Optimizer, Schedule, TrainingConfig};
use serde::Serialize;

use crate::common::battery::attacks::{NAMES, attack_by_name};
use crate::common::battery::semantic::is_semantic;
use crate::common::failure::Failure;
use crate::common::images::ImageOptions;
use crate::common::network::Networks;

/// Trains a DenseNet-121 for each defense and attacks it with attacks that know it: one comparison of what
/// each keeps, and of what it costs. Drawn tissue is 64 pixels wide here unless --image-size says otherwise.
#[derive(Clone, Debug, Parser, Serialize)]
pub struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    pub images: ImageOptions,
    /// The defenses, in this order; the undefended network is always the first.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "noise,fgsm-rs,pgd-at,trades,ensemble-at,jpeg,magnet,smoothing"
    )]
    pub defenses: Vec<Defense>,
    /// Checkpoint to start every network from; a classifier of another width is replaced.
    #[arg(long)]
    pub init: Option<PathBuf>,
    /// Passes over the training images.
    #[arg(long, default_value_t = 12)]
    pub epochs: usize,
    /// Images a training step.
    #[arg(long, default_value_t = 16)]
    pub batch_size: usize,
    /// The largest step size, of one cycle.
    #[arg(long, default_value_t = 1e-3)]
    pub learning_rate: f64,
    /// SGD with momentum 0.9 and weight decay 5e-4 instead of Adam.
    #[arg(long)]
    pub sgd: bool,
    /// The L-infinity budget to train against, in grey levels (of 255).
    #[arg(long, default_value_t = 2.0)]
    pub epsilon: f64,
    /// Steps of PGD and TRADES while training.
    #[arg(long, default_value_t = 7)]
    pub steps: usize,
    /// Standard deviation of training noise on the [0,1] scale.
    #[arg(long, default_value_t = 0.1)]
    pub sigma: f64,
    /// How far training stains are from the image's own: 0.05 is light, 0.2 strong.
    #[arg(long, default_value_t = 0.2)]
    pub stain: f64,
    /// Standard deviation of the noise that is smoothed over, on the [0,1] scale.
    #[arg(long, default_value_t = 0.25)]
    pub smoothing_sigma: f64,
    /// Noisy copies that bound a certificate.
    #[arg(long, default_value_t = 1000)]
    pub draws: usize,
    /// The share of benign images that each detector may reject.
    #[arg(long, default_value_t = 0.1)]
    pub false_alarms: f64,
    /// Passes over the training images for MagNet's autoencoder.
    #[arg(long, default_value_t = 40)]
    pub autoencoder_epochs: usize,
    /// Noisy copies that the smoothed network is attacked through.
    #[arg(long, default_value_t = 8)]
    pub copies: usize,
    /// Squares that the black-box attack on a defense tries.
    #[arg(long, default_value_t = 200)]
    pub squares: usize,
    /// The attacks beside PGD, in this order, as `battery` names them.
    #[arg(long, value_delimiter = ',', default_value = "fgsm,apgd-margin")]
    pub attacks: Vec<String>,
    /// L-infinity budgets of the attacks in grey levels (of 255).
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    pub epsilons: Vec<f64>,
    /// The attacks that no norm bounds, each a column: stains and `scanner`, as `battery` names them; `none` for
    /// none.
    #[arg(long, value_delimiter = ',', default_value = "stain-light,stain,scanner")]
    pub semantic: Vec<String>,
    /// Attack only what the attacks before have left: the same worst case, sooner, and no attack beside it.
    #[arg(long)]
    pub only_survivors: bool,
    /// Images on which the checks attack again; 0 for none.
    #[arg(long, default_value_t = 16)]
    pub check_images: usize,
    /// Where the comparison, the figures, the checkpoints and what is finished go.
    #[arg(long, default_value = "defend_out")]
    #[serde(skip)]
    pub out: PathBuf,
    /// Go on with an unfinished run in --out.
    #[arg(long)]
    #[serde(skip)]
    pub resume: bool,
}

/// A defense by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Defense {
    /// The network as it is trained without any.
    Undefended,
    /// Gaussian noise on the training images, the paper's.
    Noise,
    /// Other laboratories' stains on the training images.
    Stain,
    /// Fast adversarial training: one step from a random start.
    FgsmRs,
    /// Adversarial training with PGD.
    PgdAt,
    /// PGD and adversarial weight perturbation.
    PgdAwp,
    /// TRADES.
    Trades,
    /// Ensemble adversarial training, with the undefended network as its source.
    EnsembleAt,
    /// Fewer bits a channel, before the undefended network.
    BitDepth,
    /// A median filter before the undefended network.
    Median,
    /// JPEG before the undefended network.
    Jpeg,
    /// Total variation minimisation before the undefended network.
    TotalVariation,
    /// Random resizing and padding before the undefended network.
    Resize,
    /// Feature squeezing beside the undefended network.
    Squeezing,
    /// MagNet's detectors and reformer around the undefended network.
    Magnet,
    /// Randomized smoothing of a network trained on noise.
    Smoothing,
}

/// How a defense comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By training.
    Trained,
    /// By changing images before the undefended network.
    Preprocessing,
    /// By rejecting images.
    Detector,
    /// By answering noisy copies.
    Smoothing,
}

impl Defense {
    pub fn kind(self) -> Kind {
        match self {
            Self::Undefended | Self::Noise | Self::Stain | Self::FgsmRs => Kind::Trained,
            Self::PgdAt | Self::PgdAwp | Self::Trades | Self::EnsembleAt => Kind::Trained,
            Self::BitDepth | Self::Median | Self::Jpeg | Self::TotalVariation | Self::Resize => {
                Kind::Preprocessing
            }
            Self::Squeezing | Self::Magnet => Kind::Detector,
            Self::Smoothing => Kind::Smoothing,
        }
    }

    /// Its name on the command line and in files.
    pub fn name(self) -> String {
        self.to_possible_value().expect("no defense is hidden").get_name().to_string()
    }
}

impl Options {
    /// The budget to train against.
    pub fn budget(&self) -> Budget {
        Budget::pixels(self.epsilon)
    }

    /// The budgets of the attacks.
    pub fn budgets(&self) -> Vec<Budget> {
        self.epsilons.iter().map(|&epsilon| Budget::pixels(epsilon)).collect()
    }

    /// The attacks by name.
    pub fn chosen_attacks(&self) -> Result<Vec<Box<dyn Attack>>, Failure> {
        let known = NAMES.join(", ");
        let attack = |name: &String| {
            attack_by_name(name, self.budget(), None).ok_or_else(|| {
                Failure::wrong(format!("--attacks: expected attacks in L-infinity of {known}, found {name}"))
            })
        };
        if let Some(semantic) = self.attacks.iter().find(|name| is_semantic(name)) {
            return Err(Failure::wrong(format!(
                "--attacks: expected attacks in L-infinity, found {semantic}, which --semantic takes"
            )));
        }
        self.attacks.iter().map(attack).collect()
    }

    /// The attacks that no norm bounds.
    pub fn semantic_attacks(&self) -> Result<Vec<Box<dyn Attack>>, Failure> {
        let attack = |name: &String| {
            let attack = attack_by_name(name, self.budget(), None);
            attack.filter(|attack| attack.profile().is_semantic()).ok_or_else(|| {
                let known =
                    NAMES.iter().copied().filter(|name| is_semantic(name)).collect::<Vec<_>>().join(", ");
                Failure::wrong(format!("--semantic: expected none or attacks of {known}, found {name}"))
            })
        };
        let none = self.semantic.iter().eq(["none"]);
        if none { Ok(Vec::new()) } else { self.semantic.iter().map(attack).collect() }
    }

    /// The settings of every training.
    pub fn training(&self) -> TrainingConfig {
        TrainingConfig {
            epochs: self.epochs,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            schedule: Schedule::OneCycle { peak: 0.3 },
            optimizer: if self.sgd { Optimizer::SGD } else { Optimizer::ADAM },
            image_size: self.images.image_size(),
            augmentation: Some(Augmentation::paper()),
            seed: self.images.seed,
            ..TrainingConfig::paper()
        }
    }

    /// The settings of randomized smoothing.
    pub fn smoothing(&self) -> Smoothing {
        Smoothing::new(self.smoothing_sigma).with_draws(self.draws).with_seed(self.images.seed)
    }

    /// Where every network starts, and where it goes.
    pub fn networks(&self) -> Networks<'_> {
        let Self { images, init, out, resume, .. } = self;
        Networks { images, init: init.as_deref(), out, resume: *resume }
    }

    /// Refuses what cannot work, before any image is read.
    pub fn check(&self) -> Result<(), Failure> {
        self.training().check()?;
        let valid = |epsilon: &f64| *epsilon > 0.0 && epsilon.is_finite();
        if let Some(bad) = self.epsilons.iter().chain([&self.epsilon, &self.sigma]).find(|e| !valid(e)) {
            return Err(Failure::wrong(format!(
                "--epsilon, --epsilons, --sigma: expected numbers above 0, found {bad}"
            )));
        }
        if self.epsilons.is_empty() || self.attacks.is_empty() || self.defenses.is_empty() {
            return Err(Failure::wrong("--epsilons, --attacks, --defenses: expected at least one each"));
        }
        let twice = |(at, defense): (usize, &Defense)| self.defenses[..at].contains(defense);
        if self.defenses.iter().enumerate().any(twice) {
            return Err(Failure::wrong("--defenses: expected each at most once"));
        }
        self.chosen_attacks()?;
        self.semantic_attacks()?;
        parameter::check(self.smoothing().parameters())?;
        parameter::check([
            Parameter::within("--stain", self.stain, 0.0..=1.0),
            Parameter::at_least("--steps", self.steps, 1),
            Parameter::at_least("--copies", self.copies, 1),
            Parameter::at_least("--squares", self.squares, 1),
            Parameter::at_least("--autoencoder-epochs", self.autoencoder_epochs, 1),
        ])?;
        self.images.check()
    }
}
