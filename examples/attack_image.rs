//! Attacks one image: a checkpoint in; the adversarial PNG, the magnified difference and the predictions out.
//!
//! `cargo run --release --example attack_image -- slide.png --checkpoint original.safetensors --epsilon 2`

mod common {
    pub mod battery {
        pub mod attacks;
    }
    pub mod checkpoint;
    pub mod failure;
    pub mod mask;
    pub mod output;
    pub mod program;
    pub mod victim;
}

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use common::battery::attacks::{NAMES, attack_by_name};
use common::failure::Failure;
use common::output::{note, say};
use common::{mask, program, victim};
use histoguard::attack::{Goals, Learned, Masked};
use histoguard::classifier::FrozenFeatures;
use histoguard::data::{FileImage, ImageSet, LabeledImages, Prepared, Sample, exif_orientation, png};
use histoguard::evaluate::Distances;
use histoguard::file::FolderLock;
use histoguard::prelude::*;

/// Attacks that want a target, beside those of a battery, which has none.
const TARGETED: &[&str] = &["lbfgs", "jsma"];

/// Attacks one image and looks at what is left of the attack in an 8-bit PNG.
#[derive(Debug, Parser)]
struct Options {
    /// The image to attack.
    image: PathBuf,
    /// DenseNet checkpoint, of any of the family: safetensors or PyTorch state dict with torchvision's names.
    #[arg(long)]
    checkpoint: PathBuf,
    /// Names of the classes, in the checkpoint's order.
    #[arg(long, value_delimiter = ',', default_value = "benign,malignant")]
    classes: Vec<String>,
    /// The true class by name; without it, the network's own answer.
    #[arg(long)]
    label: Option<String>,
    /// Attack towards this class instead of away from the true one.
    #[arg(long)]
    target: Option<String>,
    /// The attack, by the name that the battery knows it by; one that looks for the smallest perturbation has
    /// the budget as its limit, `stain` and `scanner` have none. `ddn` in L2 finds images of whole grey
    /// levels; `lbfgs` in L2 and `jsma` in L0 go towards --target, or the other of two classes.
    #[arg(long, default_value = "fgsm")]
    attack: String,
    /// File of a learned attack in its place, as the examples `universal`, `patch` and `advgan` write it.
    #[arg(long, conflicts_with = "attack")]
    learned: Option<PathBuf>,
    /// Budget in grey levels (of 255) for L-infinity; for L2 and L1, the norm over the image in [0,1]; for
    /// L0, the number of values that may change [default: 2, or what a learned attack was learned with].
    #[arg(long)]
    epsilon: Option<f64>,
    /// Norm of the budget.
    #[arg(long, value_enum, default_value = "linf")]
    norm: NormName,
    /// A picture, white where the attack may change the image: as large as the image, with which it is
    /// resized and cropped, or as large as --image-size.
    #[arg(long)]
    mask: Option<PathBuf>,
    /// Side in pixels to which the image is resized and cropped.
    #[arg(long, default_value_t = 224)]
    image_size: usize,
    /// How many times the difference is magnified.
    #[arg(long, default_value_t = 10.0)]
    magnify: f64,
    /// Folder for the pictures.
    #[arg(long, default_value = "attack_image_out")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum NormName {
    Linf,
    L2,
    L1,
    L0,
}

fn main() -> ExitCode {
    program::run(|options: Options| attack(&options))
}

/// What the network says of an image.
struct Answer {
    class: usize,
    probability: f32,
}

fn answer(victim: &Frozen, image: Tensor<4>) -> Answer {
    let class = victim.predict(image.clone())[0];
    let probabilities = burn::tensor::activation::softmax(victim.logits(image), 1);
    let probability = probabilities.slice([0..1, class..class + 1]).into_scalar::<f32>();
    Answer { class, probability }
}

fn attack(options: &Options) -> Result<(), Failure> {
    let class_number = |name: &String| {
        let found = options.classes.iter().position(|class| class == name);
        found.ok_or_else(|| {
            Failure::wrong(format!("expected one of {}, found {name}", options.classes.join(", ")))
        })
    };
    let label = options.label.as_ref().map(class_number).transpose()?;
    let target = options.target.as_ref().map(class_number).transpose()?;
    if !(options.magnify.is_finite() && options.magnify > 0.0) {
        return Err(Failure::wrong(format!(
            "--magnify: expected a number above 0, found {}",
            options.magnify
        )));
    }

    if options.classes.len() < 2 {
        return Err(Failure::wrong(format!(
            "--classes: expected at least two names, found {}",
            options.classes.join(", ")
        )));
    }
    if !(29..=Prepared::MAX_IMAGE_SIZE).contains(&options.image_size) {
        return Err(Failure::wrong(format!(
            "--image-size: expected 29 to 4096, found {}",
            options.image_size
        )));
    }

    let device = Device::default();
    let model = victim::load(&options.checkpoint, options.classes.len())?;
    let victim = Frozen::new(model.clone());
    let image = read(options, &options.image, &device)?;
    if let Some(orientation) = exif_orientation(&options.image)? {
        note(format_args!(
            "note: EXIF orientation {orientation} is not applied: the image is judged as it lies in the file"
        ));
    }
    let before = answer(&victim, image.clone());
    let label = label.unwrap_or(before.class);

    let attack = chosen(options, &model)?;
    let target = match (target, attack.profile().goals) {
        (None, Goals::Targeted) if options.classes.len() == 2 => Some(1 - label),
        (target, _) => target,
    };
    let goal = match target {
        Some(target) => Goal::targeted([target]).with_true_classes([label]),
        None => Goal::untargeted([label]),
    };
    let adversarial = attack.perturb(&victim, image.clone(), &goal)?;
    let after = answer(&victim, adversarial.clone());

    let _lock = FolderLock::take(&options.out)?;
    let paths = ["original.png", "adversarial.png", "difference.png"].map(|name| options.out.join(name));
    let difference = (adversarial.clone() - image.clone()) * options.magnify / 2.0 + 0.5;
    for (path, image) in paths.iter().zip([image.clone(), adversarial.clone(), difference.clamp(0.0, 1.0)]) {
        png::write(&png::to_rgb(image.squeeze_dim(0)), path)?;
    }
    // A PNG holds whole grey levels: the rounding can undo the attack, so the file itself is judged.
    let from_png = read(options, &paths[1], &device)?;
    let saved = answer(&victim, from_png.clone());

    let said = |what: &str, answer: &Answer| {
        let (class, percent) = (&options.classes[answer.class], 100.0 * answer.probability);
        say(format_args!("{what:<22} {class} ({percent:.1} %)"))
    };
    let profile = attack.profile();
    let within = profile.budget().map_or(String::new(), |budget| format!(" within {budget}"));
    say(format_args!("{}{within}, true class {}", profile.name, options.classes[label]))?;
    said("original:", &before)?;
    said("adversarial:", &after)?;
    said("adversarial from PNG:", &saved)?;
    for (what, changed) in [("adversarial:", adversarial), ("adversarial from PNG:", from_png)] {
        let values =
            |image: Tensor<4>| image.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32");
        let size = options.image_size;
        let distances = Distances::between(&values(image.clone()), &values(changed), [3, size, size]);
        let or_dash = |value: Option<f32>| value.map_or("-".to_string(), |value| format!("{value:.4}"));
        say(format_args!(
            "{what:<22} Linf {:.4}, L2 {:.3}, {} values, PSNR {} dB, SSIM {}",
            distances.linf,
            distances.l2,
            distances.l0,
            or_dash(distances.psnr),
            or_dash(distances.ssim)
        ))?;
    }
    say(format_args!("pictures in {}", options.out.display()))?;
    Ok(())
}

/// The attack that is asked for, with its budget, on what the mask leaves.
fn chosen(options: &Options, model: &Normalized<DenseNet>) -> Result<Box<dyn Attack>, Failure> {
    let epsilon = options.epsilon.unwrap_or(2.0);
    let budget = match options.norm {
        NormName::Linf => Budget::pixels(epsilon),
        NormName::L2 => Budget::l2(epsilon),
        NormName::L1 => Budget::l1(epsilon),
        NormName::L0 => Budget::new(Norm::L0, Epsilon::unit(epsilon)),
    };
    if budget.norm() == Norm::L0 && epsilon.fract() != 0.0 {
        return Err(Failure::wrong(format!(
            "--epsilon: expected a whole number of values in L0, found {epsilon}"
        )));
    }
    let attack = match &options.learned {
        Some(path) => {
            let (features, side) = ([FrozenFeatures::new(model.clone())], options.image_size);
            Learned::load(path, &Device::default(), &features)?.for_images([3, side, side])?
        }
        None => attack_by_name(&options.attack, budget, None).ok_or_else(|| {
            let (known, norm) = ([NAMES, TARGETED].concat().join(", "), budget.norm());
            Failure::wrong(format!(
                "--attack: expected one that knows {norm}, of {known}, found {}",
                options.attack
            ))
        })?,
    };
    let own = attack.profile().norm();
    if options.learned.is_some() && options.epsilon.is_some() && own != Some(budget.norm()) {
        let own = own.map_or("none".into(), |norm| norm.to_string());
        return Err(Failure::wrong(format!(
            "--norm: expected {own}, in which the attack was learned, found {}",
            budget.norm()
        )));
    }
    let at = |attack: Box<dyn Attack>| match options.learned.is_some() && options.epsilon.is_none() {
        true => attack,
        false => attack.at(budget),
    };
    let Some(path) = &options.mask else { return Ok(at(attack)) };
    let size = prepared(options, &options.image)?.original(0)?.dimensions();
    Ok(Box::new(Masked::boxed(at(attack), mask::read(path, options.image_size, size)?)))
}

/// One image as the network takes it.
fn read(options: &Options, path: &Path, device: &Device) -> Result<Tensor<4>, Failure> {
    Ok(prepared(options, path)?.batch(&[0], device)?.images)
}

fn prepared(options: &Options, path: &Path) -> Result<Prepared, Failure> {
    let sample = Sample::new(FileImage(path.to_path_buf()), 0, path.display().to_string());
    let set = ImageSet::new("one image", options.classes.clone(), vec![sample])?;
    Ok(Prepared::new(set, options.image_size)?)
}
