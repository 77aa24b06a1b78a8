//! Adversarial robustness for breast-histology classifiers, in pure Rust on [burn](https://burn.dev).
//!
//! histoguard reproduces Li & Liu, "Adversarial Attack and Defense in Breast Cancer Deep Learning
//! Systems" (Bioengineering 2023, 10, 973) with one command, and offers its parts as a library: a
//! DenseNet-121 with torchvision's names, the BreakHis data set, attacks, defenses, training and an
//! evaluation that says how robust a classifier really is.
//!
//! Images are `[batch, channels, height, width]` with values in \[0,1\] everywhere; normalisation is
//! the first layer of the classifier, so that an [`Epsilon`](pixels::Epsilon) is in pixel units.
//!
//! Attack your own network: implement [`Classifier`](classifier::Classifier) (two methods), freeze it,
//! and perturb. Write an attack of your own: implement [`Attack`](attack::Attack).
//!
//! ```
//! use histoguard::prelude::*;
//!
//! let device = Device::default();
//! let net = DenseNetConfig::densenet121(2).init(&device);
//! let victim = Frozen::new(Normalized::new(net, Normalization::IMAGENET));
//! let images = Tensor::<4>::full([1, 3, 64, 64], 0.5, &device);
//! let attack = Fgsm::new(Budget::pixels(8.0));
//! let adversarial = attack.perturb(&victim, images, &Goal::untargeted(vec![1]))?;
//! assert_eq!(adversarial.dims(), [1, 3, 64, 64]);
//! # Ok::<(), histoguard::attack::AttackError>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs, unreachable_pub)]
#![deny(unsafe_code)]

// The golden data's module is that of the tests outside.
#[cfg(test)]
extern crate self as histoguard;

#[cfg(not(any(feature = "flex", feature = "cuda", feature = "wgpu")))]
compile_error!(
    "histoguard needs a backend: enable one of its features `flex` (CPU, the default), `cuda` or `wgpu`, \
     for example `--no-default-features --features flex`"
);

pub mod adam;
pub mod attack;
mod batch_norm;
pub mod classifier;
pub mod data;
pub mod defense;
#[cfg(feature = "download")]
pub mod download;
pub mod evaluate;
pub mod file;
pub mod model;
pub mod parameter;
pub mod pixels;
pub mod random;

pub mod report;
pub mod rows;
pub mod statistics;
#[cfg(feature = "train")]
pub mod train;

pub mod weights;

#[cfg(all(doctest, feature = "train"))]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

/// What most programs import.
pub mod prelude {
    pub use crate::attack::{
        Access, Apgd, ApgdLoss, Attack, AttackError, AutoAttack, Bim, CarliniWagner, CarliniWagnerLinf, Ddn,
        DecisionRule, DeepFool, Ead, Ensemble, Eot, Fab, Fgsm, Fmn, Goal, HopSkipJump, InputDiversity, Jsma,
        Lbfgs, Mask, Masked, MiFgsm, MinimalFgsm, Pgd, RFgsm, RandomNoise, Restarts, Scanner, SigmaZero,
        Square, Stain, StainGrid, Starts, Transfer, VarianceTuning,
    };
    pub use crate::classifier::{Classifier, Frozen};
    pub use crate::data::{
        Batch, BreakHis, FolderSet, ImageSet, LabeledImages, Prepared, Split, SyntheticTissue, TensorSet,
    };
    pub use crate::defense::{
        Awp, BitDepth, Chain, Crafting, EnsembleAt, FgsmRs, GaussianNoise, Jpeg, Median, Objective, PgdAt,
        Preprocess, RandomResizePad, SmoothAdv, Smoothing, StainAugmentation, TotalVariation, Trades,
        attack_views,
    };
    pub use crate::evaluate::{
        Certification, CertificationResult, Evaluation, EvaluationResult, Run, TransferMatrix,
        Transferability, Verdict,
    };
    pub use crate::model::{DenseNet, DenseNetConfig, FineTune as _, Normalized, Trainable};
    pub use crate::pixels::{Budget, Epsilon, Norm, Normalization};
    #[cfg(feature = "train")]
    pub use crate::train::{Trained, Trainer, TrainingConfig, train};
    pub use crate::weights;
    pub use burn::tensor::{Device, Int, Tensor};
}
