//! Squares in two shades, and a network small enough to be trained on them in a test.
#![allow(dead_code)]

mod stop;

use std::sync::Arc;

use histoguard::data::{ImageSet, MemoryImage, Sample, Split};
use histoguard::prelude::*;
use histoguard::train::TrainingConfig;
use image::{Rgb, RgbImage};

pub use stop::stopping;

pub type Model = Normalized<DenseNet>;

/// Squares in two shades, a little different from image to image.
pub fn shades() -> ImageSet {
    let samples = (0..40).map(|i| {
        let (label, step) = (i % 2, (i / 2) as u8);
        let shade = if label == 0 { 60 + step } else { 180 - step };
        let image =
            RgbImage::from_fn(40, 36, |x, y| Rgb([shade, shade, shade.wrapping_add((x * y % 7) as u8)]));
        Sample::new(MemoryImage(Arc::new(image)), label, format!("square {i}"))
    });
    ImageSet::new("squares", vec!["dark".into(), "light".into()], samples.collect()).unwrap()
}

pub fn split() -> Split {
    Split::by_image(&shades(), [0.6, 0.2, 0.2], 1).unwrap()
}

pub fn config(epochs: usize) -> TrainingConfig {
    TrainingConfig { epochs, batch_size: 8, image_size: 32, learning_rate: 3e-3, ..TrainingConfig::paper() }
}

pub fn model() -> Model {
    let net = DenseNetConfig::densenet121(2)
        .with_growth_rate(4)
        .with_block_config(vec![1, 1])
        .with_num_init_features(8)
        .with_bn_size(2);
    Normalized::new(net.init_seeded(&Device::default(), 3), Normalization::IMAGENET)
}

/// Every weight and running statistic.
pub fn bits(model: &Model) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    histoguard::weights::save_safetensors(&model.network, &path).unwrap();
    std::fs::read(path).unwrap()
}
