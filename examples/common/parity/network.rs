//! The network and its images.

use std::path::PathBuf;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Int, TensorData};
use clap::ValueEnum;
use histoguard::adam::Adam;
use histoguard::data::LabeledImages;
use histoguard::prelude::*;
use serde::Serialize;
use tempfile::TempDir;

use crate::common::failure::Failure;

pub type Model = Normalized<DenseNet>;

/// Steps of training.
const STEPS: usize = 40;
/// The smallest image that input diversity and squares have room in.
const SMALLEST: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// A DenseNet of 2 blocks with 2 and 3 layers.
    Small,
    /// DenseNet-121.
    Densenet121,
}

/// A network that tells the images apart, as a file, and the images.
pub struct Drawn {
    pub config: DenseNetConfig,
    /// A safetensors file in `_folder`.
    pub weights: PathBuf,
    pub images: TensorData,
    /// The network's own answers.
    pub labels: Vec<usize>,
    _folder: TempDir,
}

/// Draws weights and images from a seed and trains a little on the CPU: with weights as drawn, any change of a pixel would
/// change answers.
pub fn draw(size: Size, image_size: usize, images: usize, seed: u64) -> Result<Drawn, Failure> {
    let config = match size {
        Size::Small => DenseNetConfig::new(2)
            .with_growth_rate(8)
            .with_num_init_features(16)
            .with_block_config(vec![2, 3]),
        Size::Densenet121 => DenseNetConfig::densenet121(2),
    };
    let net = config.init_seeded(&Device::flex(), seed);
    let least = net.min_image_size().max(SMALLEST);
    if image_size < least {
        return Err(Failure::wrong(format_args!(
            "--image-size: expected at least {least}, found {image_size}"
        )));
    }
    if images < 2 || images % 2 == 1 {
        return Err(Failure::wrong(format_args!(
            "--images: expected an even number of at least 2, found {images}"
        )));
    }
    let tissue = SyntheticTissue {
        count_per_class: images / 2,
        slides_per_class: 1,
        seed,
        ..SyntheticTissue::default()
    };
    let everyone: Vec<usize> = (0..images).collect();
    let images = Prepared::new(tissue.images()?, image_size)?.batch(&everyone, &Device::flex())?.images;

    let model = trained(Normalized::new(net, Normalization::IMAGENET), &images);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("drawn.safetensors");
    weights::save_safetensors(&model.network, &path)?;
    let labels = Frozen::new(model).predict(images.clone());
    Ok(Drawn { config, weights: path, images: images.into_data(), labels, _folder: folder })
}

/// The network after a few steps towards the images' classes, the first half being of the first. Smoothed labels keep it
/// from being so sure of them that its gradients vanish.
fn trained(model: Model, images: &Tensor<4>) -> Model {
    let count = images.dims()[0];
    let mut labels = vec![0; count / 2];
    labels.resize(count, 1);
    let loss = CrossEntropyLossConfig::new().with_smoothing(Some(0.2));
    let mut adam = Adam::new().init();
    let mut model = model.train();
    for _ in 0..STEPS {
        let gradients = gradients(&model, images, &labels, &loss);
        model = adam.step(1e-3, model, gradients);
    }
    model.valid()
}

/// Gradients of all parameters in training mode.
pub fn gradients(
    model: &Model,
    images: &Tensor<4>,
    labels: &[usize],
    loss: &CrossEntropyLossConfig,
) -> GradientsParams {
    let labels: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &images.device());
    let logits = model.logits(Tensor::from_inner(images.clone()));
    let loss = loss.init(&logits.device()).forward(logits, Tensor::from_inner(labels));
    GradientsParams::from_grads(loss.backward(), model)
}
