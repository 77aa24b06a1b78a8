//! What was learned beside other attacks on the test images.

use std::path::Path;
use std::time::Instant;

use burn::tensor::activation::softmax;
use histoguard::attack::UniversalPerturbation;
use histoguard::data::{LabeledImages, Prepared};
use histoguard::evaluate::Fooling;
use histoguard::file::{IoError, write_whole};
use histoguard::prelude::*;
use histoguard::report::DataSummary;
use histoguard::report::figures::{AdversarialExample, AdversarialPanel, Figure};
use serde::Serialize;

use crate::common::advgan::curve::Curve;
use crate::common::advgan::learner::Learner;
use crate::common::advgan::options::Options;
use crate::common::failure::Failure;
use crate::common::output::say;

/// Images in the picture.
const PICTURES: usize = 6;
/// Images that attacks are timed on, and how often.
const TIMED: usize = 8;
const ROUNDS: usize = 3;

/// An attack on the test images.
#[derive(Serialize)]
struct Row {
    attack: String,
    fooling: Fooling,
    /// The median of rounds in turns with the other attacks, without the victim's answers before and after.
    milliseconds_an_image: f64,
}

/// What advgan.json holds.
#[derive(Serialize)]
struct Figures<'a> {
    options: &'a Options,
    learned: serde_json::Value,
    data: DataSummary,
    attacks: Vec<Row>,
}

/// The figures on the test images, and the pictures.
pub fn report(
    learner: &Learner<'_>,
    attack: &dyn Attack,
    curve: &Curve<'_>,
    test: &Prepared,
    data: DataSummary,
) -> Result<(), Failure> {
    let (options, budget) = (learner.options, learner.budget());
    let random =
        UniversalPerturbation::random(budget, learner.shape(), options.images.seed, learner.victim.device())?;
    let (fgsm, pgd) = (Fgsm::new(budget), Pgd::new(budget).with_steps(20));
    let compared = [attack, &random, &fgsm, &pgd];
    let milliseconds = milliseconds(learner, compared, test)?;
    let mut attacks = Vec::new();
    say(format_args!("within {budget} on {} test images, right ones broken:", test.len()))?;
    for (attack, milliseconds_an_image) in compared.into_iter().zip(milliseconds) {
        let row = Row {
            attack: attack.profile().name,
            fooling: Fooling::of(&learner.victim, attack, test, options.batch_size)?,
            milliseconds_an_image,
        };
        say(format_args!(
            "{:<22} {}, {:.1} ms an image",
            row.attack, row.fooling.broken, row.milliseconds_an_image
        ))?;
        for flip in &row.fooling.flips {
            say(format_args!("  {} taken for {}: {}", flip.from, flip.to, flip.images))?;
        }
        attacks.push(row);
    }
    panel(learner, attack, test)?.save(&options.out.join("advgan.png"))?;
    let title = format!("{} within {budget}: right images broken", attack.profile().name);
    curve.figure(title).save(&options.out.join("curves.png"))?;
    let learned = attack.settings();
    let figures = Figures { options, learned, data, attacks };
    write_json(&options.out.join("advgan.json"), &figures)?;
    say(format_args!("generator, pictures and figures in {}", options.out.display()))?;
    Ok(())
}

fn write_json(path: &Path, figures: &Figures<'_>) -> Result<(), Failure> {
    let text = format!("{}\n", serde_json::to_string_pretty(figures)?);
    Ok(write_whole(path, text.as_bytes()).map_err(IoError::at(path, "a file to write"))?)
}

/// Of each attack on the same few test images.
fn milliseconds<const N: usize>(
    learner: &Learner<'_>,
    attacks: [&dyn Attack; N],
    test: &Prepared,
) -> Result<[f64; N], Failure> {
    let positions: Vec<usize> = (0..test.len().min(TIMED)).collect();
    let batch = test.batch(&positions, learner.victim.device())?;
    let goal = Goal::untargeted(batch.labels).with_indices(batch.indices);
    let mut rounds = [[0.0; ROUNDS]; N];
    for round in 0..ROUNDS {
        for (attack, rounds) in attacks.iter().zip(&mut rounds) {
            let started = Instant::now();
            let moved = attack.perturb(&learner.victim, batch.images.clone(), &goal)?;
            // Devices that work on their own are done when a value is there.
            moved.max().into_scalar::<f32>();
            rounds[round] = started.elapsed().as_secs_f64() * 1e3 / positions.len() as f64;
        }
    }
    Ok(rounds.map(|mut rounds| {
        rounds.sort_by(f64::total_cmp);
        rounds[ROUNDS / 2]
    }))
}

/// Test images that the attack breaks, malignant ones first; if it breaks none, the first ones.
fn panel(learner: &Learner<'_>, attack: &dyn Attack, test: &Prepared) -> Result<AdversarialPanel, Failure> {
    let (victim, classes) = (&learner.victim, test.classes());
    let mut positions: Vec<usize> = (0..test.len()).collect();
    positions.sort_by_key(|&position| std::cmp::Reverse(test.label(position)));
    let (mut broken, mut others) = (Vec::new(), Vec::new());
    for position in positions {
        if broken.len() == PICTURES {
            break;
        }
        let batch = test.batch(&[position], victim.device())?;
        let goal = Goal::untargeted(batch.labels).with_indices(batch.indices);
        let adversarial = attack.perturb(victim, batch.images.clone(), &goal)?;
        let verdict = |images: Tensor<4>| {
            let logits = victim.logits(images);
            let answer = histoguard::classifier::predictions(logits.clone())[0];
            let probability = softmax(logits, 1).max().into_scalar::<f32>();
            (answer, f64::from(probability))
        };
        let (before, after) = (verdict(batch.images.clone()), verdict(adversarial.clone()));
        let named = |(class, probability): (usize, f64)| (classes[class].clone(), probability);
        let label = test.label(position);
        let example = AdversarialExample {
            name: test.name(position),
            truth: classes[label].clone(),
            before: named(before),
            after: named(after),
            original: batch.images.squeeze_dim(0),
            adversarial: adversarial.squeeze_dim(0),
        };
        match (before.0 == label, after.0 == label) {
            (true, false) => broken.push(example),
            _ if others.len() < PICTURES => others.push(example),
            _ => {}
        }
    }
    let examples = if broken.is_empty() { others } else { broken };
    let title = format!("{} within {}, test images", attack.profile().name, learner.budget());
    Ok(AdversarialPanel::new(title, examples).synthetic(test.is_synthetic()))
}
