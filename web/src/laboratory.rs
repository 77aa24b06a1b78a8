//! One network and one image, and attacks on them: what the page does, and the program beside it on the command line.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData, activation};
use histoguard::classifier::Step;
use histoguard::data::{MemoryImage, Sample, decode_image, png};
use histoguard::evaluate::{Evaluation, Proportion};
use histoguard::pixels::Distances;
use histoguard::prelude::*;
use histoguard::report::{DataSummary, ModelReport, Report};
use histoguard::weights::Checkpoint;
use image::RgbImage;
use serde::Serialize;
use web_time::Instant;

use crate::attacks::Request;

/// Sides of images, in pixels, that the page attacks.
pub const SIDES: std::ops::RangeInclusive<usize> = 29..=512;
/// Side of a drawing, in pixels.
const DRAWN_SIDE: u32 = 224;
/// Images of each class that the page can draw.
const DRAWINGS: usize = 1000;

/// What a network expects of its pixels, by the names that requests use.
pub const NORMALIZATIONS: [(&str, Normalization); 3] = [
    ("imagenet", Normalization::IMAGENET),
    ("none", Normalization::NONE),
    ("torchxrayvision", Normalization::TORCHXRAYVISION),
];

/// A network and an image.
#[derive(Default)]
pub struct Laboratory {
    network: Option<Frozen>,
    channels: usize,
    image: Option<RgbImage>,
    pictures: Option<Pictures>,
}

/// What is said of a network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NetworkSummary {
    /// Its name where it is one of the four of its paper, or its blocks.
    pub architecture: String,
    /// Number of classes.
    pub classes: usize,
    /// Channels of its images.
    pub channels: usize,
    /// The smallest side of its images, in pixels.
    pub smallest: usize,
    /// What of the file was left out.
    pub notes: Vec<String>,
}

/// What is said of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// What an attack did.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The attack's name.
    pub attack: String,
    /// The bound on the change, if a norm bounds it.
    pub budget: Option<String>,
    /// The true class, or the network's own answer where none was given.
    pub label: usize,
    /// Probabilities of the original.
    pub before: Vec<f32>,
    /// Probabilities of the adversarial image.
    pub after: Vec<f32>,
    /// Probabilities of the adversarial image in whole grey levels, as a PNG has them.
    pub saved: Vec<f32>,
    /// Logits of the original and of the adversarial image.
    pub logits: [Vec<f32>; 2],
    /// Whether the goal is reached.
    pub success: bool,
    /// Whether it still is in whole grey levels.
    pub survives: bool,
    /// How far the adversarial image is from the original.
    pub distances: Distances,
    /// The same in whole grey levels.
    pub saved_distances: Distances,
    /// Forward passes that it took.
    pub forwards: u64,
    /// Forward and backward passes that it took.
    pub gradients: u64,
    /// Seconds that it took.
    pub seconds: f64,
}

/// What accuracy is left on drawn images.
#[derive(Clone, Debug, Serialize)]
pub struct Accuracy {
    /// Right without attack, of all.
    pub clean: Proportion,
    /// Right under attack, of all.
    pub attacked: Proportion,
    /// The whole report as a page of its own.
    pub html: String,
}

/// The pictures of the last attack, `[channels, side, side]` in \[0,1\].
struct Pictures {
    original: Tensor<3>,
    adversarial: Tensor<3>,
}

/// A picture of the last attack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Picture {
    /// The image as the network saw it.
    Original,
    /// The adversarial image in whole grey levels.
    Adversarial,
    /// Grey where nothing changed, brighter and darker where it did, so many times the change.
    Difference(f64),
}

impl Laboratory {
    /// Loads a checkpoint of any DenseNet. `normalization` is one of [`NORMALIZATIONS`].
    ///
    /// # Errors
    ///
    /// What is wrong with the file or the name.
    pub fn load(
        &mut self,
        name: &str,
        bytes: Vec<u8>,
        normalization: &str,
    ) -> Result<NetworkSummary, String> {
        let (_, normalization) =
            NORMALIZATIONS.into_iter().find(|(known, _)| *known == normalization).ok_or_else(|| {
                let known = NORMALIZATIONS.map(|(name, _)| name).join(", ");
                format!("normalization: expected one of {known}, found {normalization}")
            })?;
        let bytes: Arc<[u8]> = bytes.into();
        let config = weights::densenet_config(Checkpoint::in_memory(name, bytes.clone())).map_err(said)?;
        let mut notes = Vec::new();
        let checkpoint = Checkpoint::in_memory(name, bytes).on_note(|note| notes.push(note.to_string()));
        let net = weights::load(config.init(&Device::flex()), checkpoint).map_err(said)?;
        let victim = Frozen::new(Normalized::new(net, normalization));
        let smallest = SIDES.into_iter().find(|&side| victim.check([config.in_channels, side, side]).is_ok());
        let smallest = smallest.ok_or_else(|| match victim.check([config.in_channels, 512, 512]) {
            Err(error) => said(error),
            Ok(()) => "expected a network for images of 29 to 512 pixels".into(),
        })?;
        self.channels = config.in_channels;
        self.network = Some(victim);
        Ok(NetworkSummary {
            architecture: architecture(&config),
            classes: config.num_classes,
            channels: config.in_channels,
            smallest,
            notes,
        })
    }

    /// Takes an image file.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub fn open(&mut self, name: &str, bytes: &[u8]) -> Result<ImageSummary, String> {
        let image = decode_image(name, bytes).map_err(said)?;
        Ok(self.take(image))
    }

    /// Draws tissue, malignant or benign, with a number of its own.
    ///
    /// # Errors
    ///
    /// A number past the last.
    pub fn draw(&mut self, malignant: bool, number: usize) -> Result<ImageSummary, String> {
        if number >= DRAWINGS {
            return Err(format!("number: expected one below {DRAWINGS}, found {number}"));
        }
        let image = drawings().draw(if malignant { DRAWINGS + number } else { number });
        Ok(self.take(image))
    }

    fn take(&mut self, image: RgbImage) -> ImageSummary {
        let (width, height) = image.dimensions();
        self.image = Some(image);
        ImageSummary { width, height }
    }

    /// Probabilities of the image as a square of this side, and the picture that the network sees.
    ///
    /// # Errors
    ///
    /// No network, no image, or a side that does not fit.
    pub fn predict(&mut self, side: usize) -> Result<Vec<f32>, String> {
        let (victim, image) = self.prepared(side)?;
        let probabilities = probabilities(victim.logits(image.clone()));
        let original = image.squeeze_dim::<3>(0);
        self.pictures = Some(Pictures { adversarial: original.clone(), original });
        Ok(probabilities)
    }

    /// Attacks the image as a square of this side; `on_step` hears of every step.
    ///
    /// # Errors
    ///
    /// No network, no image, or what is out of its range.
    pub fn attack(
        &mut self,
        request: &Request,
        side: usize,
        on_step: impl Fn(Step) + Send + 'static,
    ) -> Result<Answer, String> {
        let (victim, image) = self.prepared(side)?;
        let attack = request.attack()?;
        let logits = victim.logits(image.clone());
        let label = request.label.unwrap_or_else(|| logits.clone().argmax(1).into_scalar::<i64>() as usize);
        let goal = match request.target {
            Some(target) => Goal::targeted([target]).with_true_classes([label]),
            None => Goal::untargeted([label]),
        };
        victim.watch().on_step(on_step);
        let (before, started) = (victim.watch().queries(), Instant::now());
        let adversarial = attack.perturb(victim, image.clone(), &goal).map_err(said)?;
        let seconds = started.elapsed().as_secs_f64();
        let spent = victim.watch().queries() - before;

        let levels = (adversarial.clone() * 255.0).round() / 255.0;
        let [after, saved] = [&adversarial, &levels].map(|image| victim.logits(image.clone()));
        let distances = |changed: &Tensor<4>| {
            Distances::between(
                &values(image.clone()),
                &values(changed.clone()),
                [image.dims()[1], side, side],
            )
        };
        let answer = Answer {
            attack: attack.profile().name,
            budget: attack.profile().budget().map(|budget| budget.to_string()),
            label,
            before: probabilities(logits.clone()),
            after: probabilities(after.clone()),
            saved: probabilities(saved.clone()),
            success: goal.reached(after.clone())[0],
            survives: goal.reached(saved)[0],
            logits: [logits, after].map(values),
            distances: distances(&adversarial),
            saved_distances: distances(&levels),
            forwards: spent.forwards,
            gradients: spent.gradients,
            seconds,
        };
        self.pictures =
            Some(Pictures { original: image.squeeze_dim(0), adversarial: adversarial.squeeze_dim(0) });
        Ok(answer)
    }

    /// Attacks so many drawn images of each class, and counts what is right before and after.
    ///
    /// # Errors
    ///
    /// No network, one of another number of classes than two, or what is out of its range.
    pub fn evaluate(
        &self,
        request: &Request,
        side: usize,
        per_class: usize,
        on_progress: impl Fn(usize, usize),
    ) -> Result<Accuracy, String> {
        let victim = self.network.as_ref().ok_or("choose a network first")?;
        if (victim.num_classes(), self.channels) != (2, 3) {
            return Err("expected a network of two classes for RGB images, found another".into());
        }
        if !(1..=100).contains(&per_class) {
            return Err(format!("images: expected 1 to 100 of each class, found {per_class}"));
        }
        fits(victim, [3, side, side])?;
        let tissue =
            SyntheticTissue { count_per_class: per_class, slides_per_class: per_class, ..drawings() };
        let images = Prepared::new(tissue.images().map_err(said)?, side).map_err(said)?;
        let evaluation = Evaluation::new(victim)
            .attacks([request.attack()?])
            .batch_size(4)
            .on_progress(move |progress| on_progress(progress.done, progress.total));
        let result = evaluation.run(&images).map_err(said)?;
        let norms = result.attacks.iter().flat_map(|attack| &attack.sweep).map(|swept| &swept.metrics);
        let semantic = result.semantic.iter().map(|attack| &attack.metrics);
        let attacked = norms.chain(semantic).next().ok_or("expected an attack, found none")?.accuracy;
        let clean = result.clean.metrics.accuracy;
        let data = DataSummary::of(images.images().describe());
        let models = vec![ModelReport::new("the network on the page", result)];
        let report = Report { models, ..Report::new("Attacked in the browser", data) };
        Ok(Accuracy { clean, attacked, html: report.to_html() })
    }

    /// A picture of the last attack as RGBA bytes, row by row.
    ///
    /// # Errors
    ///
    /// There was no attack yet.
    pub fn picture(&self, picture: Picture) -> Result<Vec<u8>, String> {
        let rgb = self.rgb(picture)?;
        Ok(rgb.pixels().flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2], u8::MAX]).collect())
    }

    /// The adversarial image as a PNG file.
    ///
    /// # Errors
    ///
    /// There was no attack yet.
    pub fn png(&self) -> Result<Vec<u8>, String> {
        Ok(png::encode(&self.rgb(Picture::Adversarial)?))
    }

    fn rgb(&self, picture: Picture) -> Result<RgbImage, String> {
        let Pictures { original, adversarial } = self.pictures.as_ref().ok_or("choose an image first")?;
        let image = match picture {
            Picture::Original => original.clone(),
            Picture::Adversarial => adversarial.clone(),
            Picture::Difference(times) => {
                ((adversarial.clone() - original.clone()) * (times / 2.0) + 0.5).clamp(0.0, 1.0)
            }
        };
        let image = if image.dims()[0] == 1 { image.repeat_dim(0, 3) } else { image };
        Ok(png::to_rgb(image))
    }

    /// The network, and the image as it takes it.
    fn prepared(&self, side: usize) -> Result<(&Frozen, Tensor<4>), String> {
        let victim = self.network.as_ref().ok_or("choose a network first")?;
        let image = self.image.as_ref().ok_or("choose an image first")?;
        fits(victim, [self.channels, side, side])?;
        let sample = Sample::new(MemoryImage(Arc::new(image.clone())), 0, "image");
        let set = ImageSet::new("one image", vec!["image".into()], vec![sample]).map_err(said)?;
        let prepared = Prepared::new(set, side).map_err(said)?;
        let rgb = prepared.batch(&[0], &Device::flex()).map_err(said)?.images;
        // A grey network sees the mean of the channels, as TorchXRayVision's own conversion gives it.
        Ok((victim, if self.channels == 1 { rgb.mean_dim(1) } else { rgb }))
    }
}

fn fits(victim: &Frozen, shape: [usize; 3]) -> Result<(), String> {
    if !SIDES.contains(&shape[1]) {
        return Err(format!(
            "image size: expected {} to {} pixels, found {}",
            SIDES.start(),
            SIDES.end(),
            shape[1]
        ));
    }
    victim.check(shape).map_err(said)
}

fn drawings() -> SyntheticTissue {
    SyntheticTissue {
        image_size: [DRAWN_SIDE; 2],
        count_per_class: DRAWINGS,
        slides_per_class: DRAWINGS,
        ..SyntheticTissue::default()
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data: TensorData = tensor.into_data().convert::<f32>();
    data.try_into_vec().expect("f32 after conversion")
}

fn probabilities(logits: Tensor<2>) -> Vec<f32> {
    values(activation::softmax(logits, 1))
}

/// The name of a DenseNet of the paper, or the blocks of another.
fn architecture(config: &DenseNetConfig) -> String {
    let classes = config.num_classes;
    let shape = |config: &DenseNetConfig| {
        (config.block_config.clone(), config.growth_rate, config.num_init_features, config.bn_size)
    };
    let known = [
        ("DenseNet-121", DenseNetConfig::densenet121(classes)),
        ("DenseNet-161", DenseNetConfig::densenet161(classes)),
        ("DenseNet-169", DenseNetConfig::densenet169(classes)),
        ("DenseNet-201", DenseNetConfig::densenet201(classes)),
    ];
    match known.iter().find(|(_, known)| shape(known) == shape(config)) {
        Some((name, _)) => (*name).into(),
        None => format!("DenseNet with blocks {:?}, growth {}", config.block_config, config.growth_rate),
    }
}
