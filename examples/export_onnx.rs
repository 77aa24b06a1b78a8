//! Writes a checkpoint of a DenseNet as an ONNX file that takes pixels in [0,1].
//!
//! `cargo run --release --features onnx --example export_onnx -- original.safetensors original.onnx`

mod common {
    pub mod failure;
    pub mod output;
    pub mod program;
}

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use common::failure::Failure;
use common::output::say;
use common::program;
use histoguard::prelude::*;
use histoguard::weights::OnnxImages;

/// Writes a checkpoint of a DenseNet as an ONNX file: `images` [batch, channels, height, width] in [0,1] to
/// `logits` [batch, classes], any batch size and image size.
#[derive(Debug, Parser)]
struct Options {
    /// Checkpoint: safetensors or PyTorch state dict with torchvision's names.
    checkpoint: PathBuf,
    /// The ONNX file to write.
    onnx: PathBuf,
    /// Number of classes.
    #[arg(long, default_value_t = 2)]
    classes: usize,
    /// Layers of each dense block; the default is DenseNet-121.
    #[arg(long, value_delimiter = ',', default_value = "6,12,24,16")]
    block_config: Vec<usize>,
    /// Channels that each dense layer adds.
    #[arg(long, default_value_t = 32)]
    growth_rate: usize,
    /// Channels of the first convolution.
    #[arg(long, default_value_t = 64)]
    num_init_features: usize,
    /// Bottleneck channels of a layer, in growth rates.
    #[arg(long, default_value_t = 4)]
    bn_size: usize,
    /// Channels of the images.
    #[arg(long, default_value_t = 3)]
    channels: usize,
    /// What the network expects of pixels in [0,1]; it becomes the file's first layer.
    #[arg(long, value_enum, default_value = "imagenet")]
    normalization: NormalizationName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum NormalizationName {
    Imagenet,
    Torchxrayvision,
    None,
}

fn main() -> ExitCode {
    program::run(|options: Options| export(&options))
}

fn export(options: &Options) -> Result<(), Failure> {
    let config = DenseNetConfig::new(options.classes)
        .with_block_config(options.block_config.clone())
        .with_growth_rate(options.growth_rate)
        .with_num_init_features(options.num_init_features)
        .with_bn_size(options.bn_size)
        .with_in_channels(options.channels);
    let sizes = [
        config.num_classes,
        config.growth_rate,
        config.num_init_features,
        config.bn_size,
        config.in_channels,
    ];
    if sizes.iter().chain(&config.block_config).any(|&size| !(1..=4096).contains(&size)) {
        return Err(Failure::wrong("expected numbers from 1 to 4096 for the form of the network"));
    }
    let normalization = match options.normalization {
        NormalizationName::Imagenet => Normalization::IMAGENET,
        NormalizationName::Torchxrayvision => Normalization::TORCHXRAYVISION,
        NormalizationName::None => Normalization::NONE,
    };
    let net = weights::load(config.init(&Device::default()), &options.checkpoint)?;
    let model = Normalized::new(net, normalization);
    weights::save_onnx(&model, OnnxImages::AnySize { channels: options.channels }, &options.onnx)?;
    let (onnx, channels) = (options.onnx.display(), options.channels);
    say(format_args!("{onnx}: images [batch, {channels}, height, width] to logits"))
}
