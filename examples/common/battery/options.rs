//! The command line of the battery.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use histoguard::attack::Learned;
use histoguard::classifier::FrozenFeatures;
use histoguard::evaluate::Shard;
use histoguard::prelude::*;
use histoguard::report::Requirement;
use serde::Serialize;

use crate::common::battery::attacks::{NAMES, attack_by_name};
use crate::common::battery::semantic::is_semantic;
use crate::common::failure::Failure;
use crate::common::images::ImageOptions;

/// What runs if nothing else is asked for: minutes, where Square and HopSkipJump take thousands of queries an
/// image unless `--queries` allows them fewer. A report says what was left out.
const DEFAULT: &[&str] = &["noise", "fgsm", "pgd", "apgd-ce", "apgd-margin", "fab"];

/// Attacks one or more DenseNet checkpoints with a battery of attacks on test images, and writes
/// report.html, report.md, report.json and a figure a norm. The test images are those that no checkpoint has
/// seen by the record beside it (NAME.images.json, which the training examples write), and what the command
/// line leaves open is as in that record; --split or --fold-file splits anew. The same command goes on where
/// it was interrupted.
#[derive(Clone, Debug, Parser, Serialize)]
pub struct Options {
    /// Checkpoints: safetensors or PyTorch state dicts with torchvision's names.
    #[arg(required = true)]
    pub checkpoints: Vec<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub images: ImageOptions,
    /// Attack at most this many test images, evenly spread over them.
    #[arg(long)]
    pub limit: Option<usize>,
    /// The attacks, in this order, or `all`; those of stains and `scanner` have no norm and run once
    /// [default: noise,fgsm,pgd,apgd-ce,apgd-margin,fab].
    #[arg(long, value_delimiter = ',')]
    pub attacks: Vec<String>,
    /// Files of learned attacks to run after those: as the examples `universal`, `patch`, `advgan`
    /// and `natural` write them.
    #[arg(long, value_delimiter = ',')]
    pub learned: Vec<PathBuf>,
    /// A picture, white where attacks may change the images: as large as the first test image, with which it
    /// is resized and cropped, or as large as --image-size.
    #[arg(long)]
    pub mask: Option<PathBuf>,
    /// The checkpoints' networks, once they are loaded: some learned attacks look at the features of one.
    #[arg(skip)]
    #[serde(skip)]
    pub features: Vec<FrozenFeatures>,
    /// Queries of an image that a black box (square, hopskipjump) may take [default: 5,000 of Square, no
    /// bound for HopSkipJump].
    #[arg(long)]
    pub queries: Option<usize>,
    /// Norms of the budgets [default: linf; none where --attacks have no norm: learned attacks then keep the
    /// budgets that they were learned with].
    #[arg(long, value_enum, value_delimiter = ',')]
    pub norm: Vec<NormName>,
    /// L-infinity budgets in grey levels (of 255).
    #[arg(long, value_delimiter = ',', default_value = "0.5,1,2,4,8")]
    pub epsilons: Vec<f64>,
    /// L2 budgets: norms over the image in [0,1].
    #[arg(long, value_delimiter = ',', default_value = "0.25,0.5,1,2,4")]
    pub epsilons_l2: Vec<f64>,
    /// L1 budgets: norms over the image in [0,1].
    #[arg(long, value_delimiter = ',', default_value = "50,100,200,400,800")]
    pub epsilons_l1: Vec<f64>,
    /// L0 budgets: numbers of values that may change, a pixel's channels counted singly.
    #[arg(long, value_delimiter = ',', default_value = "10,30,100,300,1000")]
    pub epsilons_l0: Vec<usize>,
    /// Attack by gradients in bfloat16, which a processor with AMX computes in a third of the time; every image is judged
    /// in single precision.
    #[arg(long)]
    pub bf16: bool,
    /// Attack only what the attacks before have left: the same worst case, sooner.
    #[arg(long)]
    pub only_survivors: bool,
    /// Images on which the checks attack again; 0 for none.
    #[arg(long, default_value_t = 16)]
    pub check_images: usize,
    /// Images of each norm that report.html shows, with what the strongest attack makes of them; 0 for none.
    #[arg(long, default_value_t = 4)]
    pub exhibits: usize,
    /// What every model has to meet, such as "worst Linf 2/255 >= 0.4", "lower PGD malignant Linf 1/255 >= 30
    /// %" (the lower end of the interval), "clean >= 0.9" or "checks" (none suspicious); may be given several
    /// times. Exit code 3 if one is not met.
    #[arg(long)]
    #[serde(skip)]
    pub require: Vec<Requirement>,
    /// Where requirements and checks go as JUnit XML [default: junit.xml in --out, with --require].
    #[arg(long)]
    #[serde(skip)]
    pub junit: Option<PathBuf>,
    /// Images at a time.
    #[arg(long, default_value_t = 16)]
    #[serde(skip)]
    pub batch_size: usize,
    /// Attack only this part of the images, of several that processes or machines do at once: INDEX/COUNT from
    /// 0/COUNT, or auto/COUNT for the index of a HyperQueue, Slurm or Kubernetes task. Parts are whole batches.
    /// The same command without it then puts all parts in --out together and writes the report.
    #[arg(long)]
    #[serde(skip)]
    pub shard: Option<Shard>,
    /// Where the report, the figures and what is finished go.
    #[arg(long, default_value = "battery_out")]
    #[serde(skip)]
    pub out: PathBuf,
}

/// The norms that have budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NormName {
    Linf,
    L2,
    L1,
    L0,
}

impl Options {
    /// The budgets of each norm; none if no attack has a norm.
    pub fn budgets(&self) -> Vec<(Norm, Vec<Budget>)> {
        let without =
            (self.learned.is_empty() || self.norm.is_empty()) && self.names().into_iter().all(is_semantic);
        if without { Vec::new() } else { self.given() }
    }

    /// The budgets of each norm that is asked for.
    fn given(&self) -> Vec<(Norm, Vec<Budget>)> {
        let of = |name: &NormName| match name {
            NormName::Linf => (Norm::Linf, self.epsilons.iter().map(|&e| Budget::pixels(e)).collect()),
            NormName::L2 => (Norm::L2, self.epsilons_l2.iter().map(|&e| Budget::l2(e)).collect()),
            NormName::L1 => (Norm::L1, self.epsilons_l1.iter().map(|&e| Budget::l1(e)).collect()),
            NormName::L0 => (Norm::L0, self.epsilons_l0.iter().map(|&e| Budget::l0(e)).collect()),
        };
        if self.norm.is_empty() { vec![of(&NormName::Linf)] } else { self.norm.iter().map(of).collect() }
    }

    /// The JUnit file, if one is wanted.
    pub fn junit(&self) -> Option<PathBuf> {
        let beside = || (!self.require.is_empty()).then(|| self.out.join("junit.xml"));
        self.junit.clone().or_else(beside)
    }

    /// The names of the attacks that are asked for.
    fn names(&self) -> Vec<&str> {
        match self.attacks.as_slice() {
            [] => DEFAULT.to_vec(),
            [all] if all == "all" => NAMES.to_vec(),
            chosen => chosen.iter().map(String::as_str).collect(),
        }
    }

    /// What a report is to say of the attacks that no image met: the worst case knows nothing of them.
    pub fn left_out(&self) -> Option<String> {
        let run = self.names();
        let left_out: Vec<&str> = NAMES.iter().copied().filter(|name| !run.contains(name)).collect();
        (!left_out.is_empty()).then(|| {
            format!(
                "attacks left out on every image: {}; `--attacks all` runs them, `--queries 500` makes black boxes affordable",
                left_out.join(", ")
            )
        })
    }

    /// The attacks in every norm that they know.
    pub fn chosen_attacks(&self) -> Result<Vec<Box<dyn Attack>>, Failure> {
        let mut attacks: Vec<Box<dyn Attack>> = Vec::new();
        for name in self.names() {
            let before = attacks.len();
            attacks.extend(self.given().iter().filter_map(|(norm, budgets)| {
                let none = Budget::new(*norm, Epsilon::ZERO);
                attack_by_name(name, budgets.first().copied().unwrap_or(none), self.queries)
            }));
            // What knows no norm runs once.
            if attacks.get(before).is_some_and(|attack| attack.profile().is_semantic()) {
                attacks.truncate(before + 1);
            }
            if attacks.len() == before && self.attacks.iter().any(|chosen| chosen == name) {
                let known = NAMES.join(", ");
                return Err(Failure::wrong(format!(
                    "--attacks: expected `all` or attacks that know the norm, of {known}, found {name}"
                )));
            }
        }
        let mut unseen = false;
        for path in &self.learned {
            // Before the networks are there, the other files are checked.
            if self.features.is_empty() && Learned::needs_features(path)? {
                unseen = true;
                continue;
            }
            let side = self.images.image_size();
            attacks
                .push(Learned::load(path, &Device::default(), &self.features)?.for_images([3, side, side])?);
        }
        for (norm, _) in self.budgets() {
            if !unseen && !attacks.iter().any(|attack| attack.profile().norm() == Some(norm)) {
                let (names, example) =
                    (self.names().join(", "), if norm == Norm::L0 { "fmn" } else { "fgsm" });
                return Err(Failure::wrong(format!(
                    "--norm: expected attacks that know {norm}, like {example}, found {names}"
                )));
            }
        }
        Ok(attacks)
    }

    /// Refuses what cannot work, before any image is read.
    pub fn check(&self) -> Result<(), Failure> {
        for (option, epsilons) in [
            ("--epsilons", &self.epsilons),
            ("--epsilons-l2", &self.epsilons_l2),
            ("--epsilons-l1", &self.epsilons_l1),
        ] {
            if let Some(bad) = epsilons.iter().find(|e| !Epsilon::unit(**e).is_valid()) {
                return Err(Failure::wrong(format!("{option}: expected numbers of at least 0, found {bad}")));
            }
        }
        let counts =
            [("--limit", self.limit), ("--batch-size", Some(self.batch_size)), ("--queries", self.queries)];
        for (option, number) in counts {
            if number == Some(0) {
                return Err(Failure::wrong(format!("{option}: expected at least 1, found 0")));
            }
        }
        self.chosen_attacks()?;
        self.images.check()
    }
}
