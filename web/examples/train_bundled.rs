//! Trains the small network that comes with the page, on drawn tissue.
//!
//! `cargo run --release --example train_bundled -- page/drawn-tissue.safetensors`

use std::path::PathBuf;

use clap::Parser;
use histoguard::data::{Augmentation, SyntheticTissue};
use histoguard::prelude::*;
use histoguard::train::{Schedule, Trainer, TrainingConfig};

/// Trains the small network that comes with the page, and says how it does on drawings that it has not seen.
#[derive(Debug, Parser)]
struct Options {
    /// The checkpoint to write.
    out: PathBuf,
    /// Passes over the training images.
    #[arg(long, default_value_t = 30)]
    epochs: usize,
}

/// Side in pixels of the images that the network is trained on.
const SIDE: usize = 112;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let images = |count_per_class, seed| {
        let drawn = SyntheticTissue {
            count_per_class,
            slides_per_class: count_per_class,
            seed,
            ..SyntheticTissue::default()
        };
        drawn.images()
    };
    // The page draws with seed 0.
    let [training, validation, test] = [images(600, 1)?, images(100, 2)?, images(200, 3)?];
    let config = DenseNetConfig::new(2)
        .with_growth_rate(12)
        .with_block_config(vec![3, 4, 4, 3])
        .with_num_init_features(16)
        .with_bn_size(2);
    let model = Normalized::new(config.init_seeded(&Device::default(), 0), Normalization::IMAGENET);
    let config = TrainingConfig {
        epochs: options.epochs,
        batch_size: 32,
        learning_rate: 2e-3,
        schedule: Schedule::Cosine,
        image_size: SIDE,
        augmentation: Some(Augmentation::paper()),
        ..TrainingConfig::paper()
    };
    // Beside it, as by the example `train`.
    let directory = options.out.with_extension("training");
    let trained =
        Trainer::new(config).directory(directory).label("train").fit(model, &training, &validation)?;
    weights::save_safetensors(&trained.model.network, &options.out)?;
    let victim = Frozen::new(trained.model);
    let test = Prepared::new(test, SIDE)?;
    let result =
        Evaluation::new(&victim).attack(Fgsm::new(Budget::pixels(1.0))).check_images(0).run(&test)?;
    println!("right: {}", result.clean.metrics.accuracy);
    println!("right after {}: {}", result.attacks[0].label, result.attacks[0].sweep[0].metrics.accuracy);
    Ok(())
}
