//! `report.json`, `report.md` and the figures.

use std::path::Path;
use std::time::Instant;

use histoguard::data::{LabeledImages, Prepared, Split};
use histoguard::defense::GaussianNoise;
use histoguard::evaluate::{Outcome, Robustness};
use histoguard::prelude::*;
use histoguard::report::figures::{
    AccuracyCurves, AccuracyOverEpsilon, AdversarialExample, AdversarialPanel, Figure, NoisePanel,
};
use histoguard::report::{
    DataSummary, EpochMetrics, History, Leakage, ModelReport, PaperReport, SplitSummary, Versions,
};
use serde_json::json;

use crate::common::failure::Failure;
use crate::common::reproduce_paper::options::Options;

/// Grey levels of the panel of adversarial images, if the sweep has them; else the nearest that it has.
const PANEL_EPSILON: f64 = 2.0;
const PANEL_IMAGES: usize = 3;

/// One trained and attacked model.
pub struct Run {
    pub victim: Frozen,
    pub robustness: Robustness,
    pub history: histoguard::train::History,
    pub best_epoch: usize,
    pub test: Prepared,
}

/// Writes the report of the original model and one defence, and the four figures.
pub fn write(
    options: &Options,
    split: &Split,
    [original, defence]: [&Run; 2],
    sigma: f64,
    started: Instant,
    folder: &Path,
) -> Result<PaperReport, Failure> {
    let synthetic = split.test.is_synthetic();
    let names = ["original".to_string(), format!("Gaussian noise, sigma {sigma}")];
    let report = PaperReport {
        versions: Versions::current(),
        configuration: json!({
            "options": options,
            "device": format!("{:?}", Device::default()),
            "training": options.training(),
            "defence": GaussianNoise::new(sigma).with_seed(options.images.seed),
            "split": split.record(),
            "leakage": split.leakage(),
        }),
        seed: options.images.seed,
        data: data(options, split),
        original: model(&names[0], original),
        defence: model(&names[1], defence),
        timing: json!({
            "seconds": started.elapsed().as_secs_f64(),
            "epoch_seconds": { "original": original.history.seconds, "defence": defence.history.seconds },
        }),
    };
    report.write(folder)?;

    let (image, noisy) = noisy_image(options, split, sigma)?;
    NoisePanel::new(image, noisy, format!("sigma {sigma}"))
        .synthetic(synthetic)
        .save(&folder.join("figure4_noise.png"))?;
    let histories =
        [&report.original, &report.defence].map(|model| (model.name.clone(), model.history.clone()));
    AccuracyCurves::new(histories)
        .synthetic(synthetic)
        .save(&folder.join("figure5_accuracy_over_epochs.png"))?;
    adversarial_panel(original)?.synthetic(synthetic).save(&folder.join("figure6_adversarial_images.png"))?;
    let sweeps =
        [&report.original, &report.defence].map(|model| (model.name.clone(), model.robustness.clone()));
    AccuracyOverEpsilon::new(sweeps).save(&folder.join("figure_accuracy_over_epsilon.png"))?;
    Ok(report)
}

/// The report's results and warnings, on standard output.
pub fn print(report: &PaperReport, folder: &Path) {
    println!("{}", report.summary());
    for warning in report.warnings() {
        println!("note: {warning}");
    }
    println!("tables in {}, figures beside it", folder.join("report.md").display());
}

fn data(options: &Options, split: &Split) -> DataSummary {
    let shared = split.leakage().slides;
    let shared = || shared.iter().filter(|slide| slide.train > 0 && slide.test > 0);
    let mut test_slides: Vec<&str> =
        split.test.samples().iter().map(|sample| sample.group.as_str()).collect();
    test_slides.sort_unstable();
    test_slides.dedup();
    DataSummary {
        description: options.images.describe().to_string(),
        synthetic: split.test.is_synthetic(),
        notes: split.test.notes().to_vec(),
        classes: split.test.classes().to_vec(),
        split: SplitSummary {
            method: split.record().method.to_string(),
            train: split.train.class_counts(),
            validation: split.validation.class_counts(),
            test: split.test.class_counts(),
            leakage: Some(Leakage {
                test_groups: test_slides.len(),
                shared_groups: shared().count(),
                test_images: shared().map(|slide| slide.test).sum(),
            }),
        },
    }
}

fn model(name: &str, run: &Run) -> ModelReport {
    let epoch = |record: &histoguard::train::EpochRecord| EpochMetrics {
        epoch: record.epoch,
        train_loss: Some(record.train_loss),
        train_accuracy: Some(record.train_accuracy),
        validation_loss: Some(record.validation_loss),
        validation_accuracy: Some(record.validation_accuracy),
    };
    let epochs = run.history.epochs.iter().map(epoch).collect();
    ModelReport {
        name: name.to_string(),
        history: History { epochs, best_epoch: Some(run.best_epoch) },
        robustness: run.robustness.clone(),
    }
}

/// The first malignant training image without and with the defence's noise.
fn noisy_image(options: &Options, split: &Split, sigma: f64) -> Result<(Tensor<3>, Tensor<3>), Failure> {
    let train = Prepared::new(split.train.clone(), options.images.image_size())?;
    let malignant = train.classes().len() - 1;
    let position = (0..train.len()).find(|&position| train.label(position) == malignant).unwrap_or(0);
    let batch = train.batch(&[position], &Device::default())?;
    let noise = GaussianNoise::new(sigma).with_seed(options.images.seed);
    let noisy = noise.noisy(batch.images.clone(), &batch.indices, 1)?;
    Ok((batch.images.squeeze_dim(0), noisy.squeeze_dim(0)))
}

/// Images that the attack turns, malignant ones first; if it turns none, those it tried.
fn adversarial_panel(run: &Run) -> Result<AdversarialPanel, Failure> {
    let Run { victim, robustness, test, .. } = run;
    let fooled = |column: usize| -> Vec<usize> {
        let turned = |&position: &usize| {
            let record = &robustness.records[position];
            record.clean.is(record.label) && !record.attacks[column].outcome.is(record.label)
        };
        let mut positions: Vec<usize> = (0..test.len()).filter(turned).collect();
        positions.sort_by_key(|&position| std::cmp::Reverse(test.label(position)));
        positions
    };
    let distance = |column: &usize| (robustness.sweep[*column].epsilon.as_pixels() - PANEL_EPSILON).abs();
    let nearest = (0..robustness.sweep.len())
        .filter(|&column| !fooled(column).is_empty())
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    let (column, positions) = match nearest {
        Some(column) => (column, fooled(column)),
        None => (robustness.sweep.len() - 1, (0..test.len()).collect()),
    };
    let epsilon = robustness.sweep[column].epsilon;
    let attack = Fgsm::new(epsilon);

    let mut examples = Vec::new();
    for position in positions.into_iter().take(PANEL_IMAGES) {
        let batch = test.batch(&[position], victim.device())?;
        let goal = Goal::untargeted(batch.labels).with_indices(batch.indices);
        let adversarial = attack.perturb(victim, batch.images.clone(), &goal)?;
        let outcome = |images| Outcome::from_batch(victim.logits(images)).remove(0);
        examples.push(AdversarialExample {
            name: test.name(position),
            truth: test.classes()[test.label(position)].clone(),
            before: verdict(&outcome(batch.images.clone()), test.classes()),
            after: verdict(&outcome(adversarial.clone()), test.classes()),
            original: batch.images.squeeze_dim(0),
            adversarial: adversarial.squeeze_dim(0),
        });
    }
    let title = format!("{} at epsilon {epsilon}, original model", attack.name());
    Ok(AdversarialPanel::new(title, examples))
}

/// The predicted class and its probability; two classes, as in the paper.
fn verdict(outcome: &Outcome, classes: &[String]) -> (String, f64) {
    let positive = outcome.probability.map_or(f64::NAN, f64::from);
    match outcome.prediction {
        Some(class) if class + 1 == classes.len() => (classes[class].clone(), positive),
        Some(class) => (classes[class].clone(), 1.0 - positive),
        None => ("no answer".to_string(), f64::NAN),
    }
}
