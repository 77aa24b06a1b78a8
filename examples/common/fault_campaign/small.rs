//! Runs of every kind that take a moment: drawn squares, a network of a few weights, a training, an
//! evaluation, a report.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use histoguard::data::{DataError, ImageSet, MemoryImage, Sample, TensorSet};
use histoguard::defense::GaussianNoise;
use histoguard::evaluate::{CertificationResult, EvaluationError};
use histoguard::prelude::*;
use histoguard::report::{DataSummary, History, ModelReport, Report};
use histoguard::train::{TrainError, Trainer};
use image::{Rgb, RgbImage};

/// A network of eight weights: a linear layer on the mean color.
#[derive(Module, Debug)]
pub struct Tiny {
    classifier: Linear,
}

impl Tiny {
    pub const SIDE: usize = 32;

    pub fn new() -> Self {
        let device = Device::default();
        device.seed(0);
        Self { classifier: LinearConfig::new(3, 2).init(&device) }
    }
}

impl Classifier for Tiny {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.classifier.forward(images.mean_dims(&[2, 3]).flatten(1, 3))
    }

    fn num_classes(&self) -> usize {
        2
    }
}

/// Squares in two shades, a little different from image to image.
pub fn squares(count: usize, side: u32) -> Result<Split, DataError> {
    let samples = (0..count).map(|number| {
        let (label, step) = (number % 2, (number / 2) as u8);
        let shade = if label == 0 { 60 + step } else { 180 - step };
        let pixel = |x: u32, y: u32| Rgb([shade, shade, shade.wrapping_add((x * y % 7) as u8)]);
        let image = MemoryImage(Arc::new(RgbImage::from_fn(side, side, pixel)));
        Sample::new(image, label, format!("square {number}")).from_slide(format!("slide {}", number / 4), "")
    });
    let images = ImageSet::new("squares", vec!["dark".into(), "light".into()], samples.collect())?;
    Split::by_image(&images, [0.6, 0.2, 0.2], 1)
}

/// The training of [`Tiny`] in this folder, gone on with if there is one.
pub fn tiny_training(folder: &Path) -> Result<Trained<Tiny>, TrainError> {
    let split = squares(20, Tiny::SIDE as u32 + 2)?;
    let config =
        TrainingConfig { epochs: 2, batch_size: 4, image_size: Tiny::SIDE, ..TrainingConfig::paper() };
    Trainer::new(config)
        .objective(GaussianNoise::new(0.05))
        .directory(folder)
        .resume(true)
        .dashboard(false)
        .fit(Tiny::new(), &split.train, &split.validation)
}

/// "light" above a threshold.
pub fn by_brightness(threshold: f64) -> Frozen {
    Frozen::from_fn(2, &Device::default(), move |images| {
        let bright = (images.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - threshold) * 10.0;
        Tensor::cat(vec![bright.clone().neg(), bright], 1)
    })
}

/// Six plain images, one of them on the wrong side.
pub fn plain() -> Result<TensorSet, DataError> {
    let shades = Tensor::<1>::from_floats([0.1, 0.3, 0.45, 0.4, 0.6, 0.9], &Device::default());
    let images = shades.reshape([6, 1, 1, 1]).repeat_dim(2, 4).repeat_dim(3, 4);
    TensorSet::new(images, vec![0, 0, 0, 1, 1, 1], vec!["dark".into(), "light".into()])
}

/// An evaluation of a classifier of brightness, kept in this folder.
pub fn plain_evaluation(folder: &Path) -> Result<EvaluationResult, EvaluationError> {
    Evaluation::new(&by_brightness(0.5))
        .attack(Fgsm::new(Budget::pixels(0.0)))
        .attack(Pgd::new(Budget::pixels(0.0)).with_steps(2))
        .budgets([10.0, 40.0].map(Budget::pixels))
        .check_images(2)
        .resamples(20)
        .resume_from(folder)
        .run(&plain()?)
}

/// A transfer matrix of two of them.
pub fn plain_transfer(folder: &Path) -> Result<TransferMatrix, EvaluationError> {
    let attack = Fgsm::new(Budget::pixels(30.0));
    let [middle, low] = [0.5, 0.4].map(by_brightness);
    Transferability::new(&attack)
        .model("middle", &middle)
        .model("low", &low)
        .resume_from(folder)
        .run(&plain()?)
}

/// A certification of one.
pub fn plain_certification(folder: &Path) -> Result<CertificationResult, EvaluationError> {
    let smoothing = Smoothing::new(0.25).with_draws(40);
    Certification::new(&by_brightness(0.5), smoothing).resume_from(folder).run(&plain()?)
}

/// A report with everything in it, of what these folders hold.
pub fn plain_report(folder: &Path) -> Result<Report, Box<dyn std::error::Error>> {
    let [evaluation, transfer, certification, training] =
        ["evaluation", "transfer", "certification", "training"].map(|name| folder.join(name));
    let trained = tiny_training(&training)?;
    let mut model = ModelReport::new("brightness", plain_evaluation(&evaluation)?);
    model.history = Some(History::of(&trained));
    model.certification = Some(plain_certification(&certification)?);
    let other = ModelReport { name: "the same again".into(), ..model.clone() };
    Ok(Report {
        models: vec![model, other],
        transfer: vec![plain_transfer(&transfer)?],
        ..Report::new("Plain images", DataSummary::of("six plain images"))
    })
}
