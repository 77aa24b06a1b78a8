//! The command line of the generators.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::common::images::ImageOptions;

/// Learns a generator of perturbations (AdvGAN) or of images (AdvGAN++) against a DenseNet-121 checkpoint
/// from training images, reports how many test images it breaks beside a random perturbation, FGSM and PGD,
/// and writes advgan.safetensors, advgan.png (broken test images), advgan.json, and the curves of the learning,
/// curves.png and curves.json, beside training.safetensors and learned_from.json. The same command goes on where
/// it was interrupted.
#[derive(Clone, Debug, Parser, Serialize)]
pub struct Options {
    /// Checkpoint: safetensors or PyTorch state dict with torchvision's names.
    pub checkpoint: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    pub images: ImageOptions,
    /// What is learned: a generator of perturbations against the network itself, the same against a copy that
    /// learns from the network's answers alone, or a generator of images from the network's features.
    #[arg(long, value_enum, default_value = "advgan")]
    pub method: Method,
    /// L-infinity budget in gray levels (of 255).
    #[arg(long, default_value_t = 8.0)]
    pub epsilon: f64,
    /// Passes over the training images.
    #[arg(long, default_value_t = 60)]
    pub epochs: usize,
    /// Passes over the training images in which the copy of a black box learns before.
    #[arg(long, default_value_t = 10)]
    pub copy_epochs: usize,
    /// Adam's, of all networks that learn.
    #[arg(long, default_value_t = 0.001)]
    pub learning_rate: f64,
    /// Channels of the first convolution of generator and discriminator.
    #[arg(long, default_value_t = 16)]
    pub width: usize,
    /// The norm of AdvGAN's generator.
    #[arg(long, value_enum, default_value = "instance")]
    pub norm: Norm,
    /// How far past the boundary training images are to go, in logits.
    #[arg(long, default_value_t = 10.0)]
    pub kappa: f64,
    /// Learn from the images as they are, not from random crops, flips and quarter turns.
    #[arg(long)]
    pub plain: bool,
    /// How far the stains learned from are from the image's own: 0.05 is light, 0.2 strong.
    #[arg(long, default_value_t = 0.0)]
    pub stain: f64,
    /// Learn towards this class instead of away from the true ones.
    #[arg(long)]
    pub target: Option<String>,
    /// Images at a time.
    #[arg(long, default_value_t = 8)]
    pub batch_size: usize,
    /// Where everything goes.
    #[arg(long, default_value = "advgan_out")]
    #[serde(skip)]
    pub out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Each image by itself, as in the reference code, whatever its stain.
    Instance,
    /// Over the images of a batch: quicker on training slides, no better on others.
    Batch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    #[value(name = "advgan")]
    AdvGan,
    BlackBox,
    PlusPlus,
}
