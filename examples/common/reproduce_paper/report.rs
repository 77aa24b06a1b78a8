//! The report and the figures.

use std::path::Path;
use std::time::Instant;

use histoguard::data::{LabeledImages, Prepared, Split};
use histoguard::defense::GaussianNoise;
use histoguard::evaluate::{Exhibit, Outcome};
use histoguard::prelude::*;
use histoguard::report::figures::{
    AccuracyCurves, AccuracyOverEpsilon, AdversarialExample, AdversarialPanel, Figure, NoisePanel,
};
use histoguard::report::{History, ModelReport, PaperView, Report};
use serde_json::json;

use crate::common::failure::Failure;
use crate::common::images::summary;
use crate::common::output::say;
use crate::common::reproduce_paper::options::Options;

/// Grey levels of the panel of adversarial images, if the sweep has them; else the nearest that it has.
const PANEL_EPSILON: f64 = 2.0;
const PANEL_IMAGES: usize = 3;

/// One trained and attacked model.
pub struct Measured {
    pub victim: Frozen,
    pub result: EvaluationResult,
    pub exhibits: Vec<Exhibit>,
    pub history: History,
    pub epoch_seconds: Vec<f64>,
    pub test: Prepared,
}

/// Writes the report of the original model and one defense, and the four figures.
pub fn write(
    options: &Options,
    split: &Split,
    [original, defense]: [&Measured; 2],
    sigma: f64,
    started: Instant,
    folder: &Path,
) -> Result<Report, Failure> {
    let synthetic = split.test.is_synthetic();
    let model = |name: String, measured: &Measured| ModelReport {
        history: Some(measured.history.clone()),
        exhibits: measured.exhibits.clone(),
        ..ModelReport::new(name, measured.result.clone())
    };
    let report = Report {
        configuration: json!({
            "options": options,
            "device": format!("{:?}", Device::default()),
            "training": options.training(),
            "defense": GaussianNoise::new(sigma).with_seed(options.images.seed),
            "split": split.record(),
            "leakage": split.leakage(),
        }),
        models: vec![
            model("original".into(), original),
            model(format!("Gaussian noise, sigma {sigma}"), defense),
        ],
        timing: json!({
            "seconds": started.elapsed().as_secs_f64(),
            "epoch_seconds": { "original": original.epoch_seconds, "defense": defense.epoch_seconds },
        }),
        ..Report::new(
            "Attack and defense in breast-histology classification",
            summary(&options.images, split, options.images.describe().to_string()),
        )
    };
    PaperView::new(&report).write(folder)?;

    let (image, noisy) = noisy_image(options, split, sigma)?;
    NoisePanel::new(image, noisy, format!("sigma {sigma}"))
        .synthetic(synthetic)
        .save(&folder.join("figure4_noise.png"))?;
    let histories = report.models.iter().filter_map(|m| Some((m.name.clone(), m.history.clone()?)));
    AccuracyCurves::new(histories)
        .synthetic(synthetic)
        .save(&folder.join("figure5_accuracy_over_epochs.png"))?;
    adversarial_panel(original)?.synthetic(synthetic).save(&folder.join("figure6_adversarial_images.png"))?;
    let results = report.models.iter().map(|model| (model.name.clone(), &model.result));
    AccuracyOverEpsilon::new(Norm::Linf, results).save(&folder.join("figure_accuracy_over_epsilon.png"))?;
    Ok(report)
}

/// The report's results and warnings, on standard output.
pub fn print(report: &Report, folder: &Path) -> Result<(), Failure> {
    say(report.summary())?;
    for warning in PaperView::new(report).warnings() {
        say(format_args!("note: {warning}"))?;
    }
    say(format_args!("one page in {}, tables and figures beside it", folder.join("report.html").display()))
}

/// The first malignant training image without and with the defense's noise.
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
fn adversarial_panel(measured: &Measured) -> Result<AdversarialPanel, Failure> {
    let Measured { victim, result, test, .. } = measured;
    let sweep = &result.attacks[0].sweep;
    let fooled = |column: usize| -> Vec<usize> {
        let turned = |&position: &usize| {
            let record = &result.records[position];
            record.clean.is(record.label) && !record.attacks[0].at[column].outcome.is(record.label)
        };
        let mut positions: Vec<usize> = (0..test.len()).filter(turned).collect();
        positions.sort_by_key(|&position| std::cmp::Reverse(test.label(position)));
        positions
    };
    let distance = |column: &usize| (sweep[*column].budget.level() - PANEL_EPSILON).abs();
    let nearest = (0..sweep.len())
        .filter(|&column| !fooled(column).is_empty())
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    let (column, positions) = match nearest {
        Some(column) => (column, fooled(column)),
        None => (sweep.len() - 1, (0..test.len()).collect()),
    };
    let budget = sweep[column].budget;
    let attack = Fgsm::new(budget);

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
    let title = format!("FGSM at epsilon {}, original model", budget.shown());
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
