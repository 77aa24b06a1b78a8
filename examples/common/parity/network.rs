//! The network and its images, and what is computed of them without an attack.

use std::path::PathBuf;

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams, SgdConfig};
use burn::tensor::{Int, TensorData};
use clap::ValueEnum;
use histoguard::data::LabeledImages;
use histoguard::prelude::*;
use histoguard::rows::values;
use serde::Serialize;
use tempfile::TempDir;

use super::case::{Case, Found, Part};
use super::compare::Tolerance;
use super::side::Side;
use crate::common::failure::Failure;

pub type Model = Normalized<DenseNet>;

/// Steps of training.
const STEPS: usize = 40;

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
    let least = net.min_image_size().max(SQUARE);
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

/// The smallest image that input diversity and squares have room in.
const SQUARE: usize = 16;

/// The network after a few steps towards the images' classes, the first half being of the first. Smoothed labels keep it
/// from being so sure of them that its gradients vanish.
fn trained(model: Model, images: &Tensor<4>) -> Model {
    let count = images.dims()[0];
    let mut labels = vec![0; count / 2];
    labels.resize(count, 1);
    let loss = CrossEntropyLossConfig::new().with_smoothing(Some(0.2));
    let mut adam = AdamConfig::new().with_epsilon(1e-8).init();
    let mut model = model.train();
    for _ in 0..STEPS {
        let gradients = gradients(&model, images, &labels, &loss);
        model = adam.step(1e-3, model, gradients);
    }
    model.valid()
}

/// Gradients of all parameters in training mode.
fn gradients(
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

/// Logits, the input gradient and a training step with two optimizers.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("forward", Tolerance::Relative(1e-4), |side| {
            let logits = side.victim.logits(side.images.clone());
            let answers = side.victim.predict(side.images.clone());
            Ok(Found { answers, ..Found::numbers(vec![Part::new("logits", values(logits))]) })
        }),
        Case::new("gradient", Tolerance::Distance(0.05), |side| {
            let goal = side.goal();
            let found = side.victim.input_gradient(side.images.clone(), |logits| goal.log_odds(logits));
            Ok(Found::numbers(vec![Part::new("gradient", values(found.gradient))]))
        }),
        Case::new("sgd step", Tolerance::Distance(0.05), |side| {
            Ok(Found::numbers(step(side, |model, gradients| {
                SgdConfig::new().init().step(0.1, model, gradients)
            })))
        }),
        // Adam's first step is the gradient's sign, whatever its size.
        Case::new("adam step", Tolerance::Share { of_values: 0.02, beyond: 1e-4 }, |side| {
            let adam = || AdamConfig::new().with_epsilon(1e-8).init();
            Ok(Found::numbers(step(side, |model, gradients| adam().step(1e-3, model, gradients))))
        }),
    ]
}

/// What a step of training changes in each parameter and running statistic.
fn step(side: &Side, optimize: impl FnOnce(Model, GradientsParams) -> Model) -> Vec<Part> {
    let before = Parameters::of(&side.model);
    let model = side.model.clone().train();
    let gradients = gradients(&model, &side.images, &side.labels, &CrossEntropyLossConfig::new());
    let after = Parameters::of(&optimize(model, gradients));
    let changes = after.0.into_iter().zip(before.0).map(|(after, before)| {
        let change = after.values.iter().zip(&before.values).map(|(after, before)| after - before);
        Part { values: change.collect(), ..after }
    });
    changes.collect()
}

/// All parameters and running statistics by name.
struct Parameters(Vec<Part>);

impl Parameters {
    fn of(model: &Model) -> Self {
        let mut collect = Collect { path: Vec::new(), found: Vec::new() };
        // Only `valid` applies the last update of the running statistics.
        model.valid().visit(&mut collect);
        Self(collect.found)
    }
}

struct Collect {
    path: Vec<String>,
    found: Vec<Part>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push(Part::new(self.path.join("."), values(param.val())));
    }
}
