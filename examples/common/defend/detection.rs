//! Defenses that reject images, around the undefended network.

use std::sync::Arc;

use histoguard::attack::Transfer;
use histoguard::classifier::FrozenFeatures;
use histoguard::data::{LabeledImages, Prepared};
use histoguard::defense::detector::{
    Adaptive, AdaptiveConfig, AutoencoderConfig, AutoencoderTraining, Calibration, Detector, Evading,
    FeatureSqueezing, Guard, ImageMap, ReconstructionDivergence, ReconstructionError, Threshold, reformed,
};
use histoguard::defense::{BitDepth, ImageDraws, Median, Preprocess};
use histoguard::prelude::*;

use crate::common::defend::options::{Defense, Kind, Options};
use crate::common::defend::row::{Row, Semantic, Under};
use crate::common::failure::Failure;
use crate::common::network::Model;

/// Noise of MagNet's autoencoder, and the temperatures of its detectors: the paper's for color images.
const MAGNET_SIGMA: f64 = 0.025;
const TEMPERATURES: [f64; 2] = [10.0, 40.0];

/// Refuses, before any training, detectors for whose thresholds there are too few validation slides.
pub fn check(options: &Options, validation: &Prepared) -> Result<(), Failure> {
    if options.defenses.iter().any(|defense| defense.kind() == Kind::Detector) {
        let blank: Vec<(String, f64)> = (0..validation.len()).map(|at| (validation.group(at), 0.0)).collect();
        Threshold::new(&blank, options.false_alarms)
            .map_err(|error| Failure::wrong(format!("--false-alarms, for detectors: {error}")))?;
    }
    Ok(())
}

/// The undefended network with detectors whose thresholds come from the validation images.
pub fn guard(
    options: &Options,
    defense: Defense,
    network: &Model,
    training: &Prepared,
    validation: &Prepared,
) -> Result<Guard, Failure> {
    let classifier = Frozen::new(network.clone());
    let features = FrozenFeatures::new(network.clone());
    let (classifier, detectors): (Frozen, Vec<Arc<dyn Detector>>) = match defense {
        Defense::Squeezing => {
            let squeezers = vec![squeezer(BitDepth::new(5)), squeezer(Median::new().with_window(2))];
            (classifier, vec![Arc::new(FeatureSqueezing::new(features, squeezers)?)])
        }
        Defense::Magnet => {
            let autoencoder = AutoencoderConfig::cifar10().init(&Device::default(), options.images.seed)?;
            let settings = AutoencoderTraining::new(MAGNET_SIGMA)
                .with_epochs(options.autoencoder_epochs)
                .with_batch_size(options.batch_size)
                .with_seed(options.images.seed);
            let map = settings.train(autoencoder, training)?.autoencoder.frozen("autoencoder");
            let mut detectors: Vec<Arc<dyn Detector>> =
                vec![Arc::new(ReconstructionError::new(map.clone(), 1)?)];
            for temperature in TEMPERATURES {
                let divergence = ReconstructionDivergence::new(map.clone(), features.clone(), temperature)?;
                detectors.push(Arc::new(divergence));
            }
            (reformed(classifier, map), detectors)
        }
        other => unreachable!("{} is no detector", other.name()),
    };
    let calibration = Calibration::new(options.false_alarms).with_batch_size(options.batch_size);
    Ok(Guard::calibrated(classifier, detectors, &calibration, validation)?)
}

/// A preprocessing that takes no random numbers, as a squeezer.
fn squeezer(preprocess: impl Preprocess + 'static) -> ImageMap {
    ImageMap::new(preprocess.name(), move |images| preprocess.forward(images, &ImageDraws::default()))
}

/// The guarded network under PGD made for the bare one, PGD on itself, and the attacks that know its detectors: one by
/// gradients, Square, and those that no norm bounds.
pub fn row(
    options: &Options,
    defense: Defense,
    guard: &Guard,
    bare: &Model,
    test: &Prepared,
) -> Result<Row, Failure> {
    let mut attacks: Vec<Box<dyn Attack>> = Vec::new();
    for budget in options.budgets() {
        let pgd = Pgd::new(budget).with_steps(20).with_seed(options.images.seed);
        let oblivious = pgd.with_early_stop(false);
        attacks.push(Box::new(Transfer::new(oblivious, "the undefended network", Frozen::new(bare.clone()))));
        attacks.push(Box::new(pgd));
        let knows = AdaptiveConfig::new(budget).with_seed(options.images.seed);
        attacks.push(Box::new(Adaptive::new(knows, guard.alarms())));
        let square = Square::new(budget).with_queries(options.squares);
        attacks.push(Box::new(Evading::new(square, guard.alarms())));
    }
    let semantic = options.semantic_attacks()?;
    let labels: Vec<String> = semantic.iter().map(|attack| attack.profile().name).collect();
    attacks.extend(semantic.into_iter().map(|attack| Box::new(Evading::boxed(attack, guard.alarms())) as _));
    let all: Vec<&dyn Attack> = attacks.iter().map(AsRef::as_ref).collect();
    let report = guard.report(test, &all, options.batch_size)?;
    let under = |(budget, attacked): (Budget, &[_])| {
        let [oblivious, plain, knows, square]: &[histoguard::defense::detector::Attacked; 4] =
            attacked.try_into().expect("four attacks a budget");
        let worst = [oblivious, plain, knows, square].map(|under| under.worst_case);
        Under {
            budget,
            oblivious: Some(oblivious.worst_case),
            adaptive: Some(knows.worst_case),
            black_box: Some(square.worst_case),
            worst: worst.into_iter().min_by_key(|share| share.hits),
            certified: None,
        }
    };
    let (bounded, semantic) = report.attacks.split_at(4 * options.epsilons.len());
    let semantic = labels.into_iter().zip(semantic);
    Ok(Row {
        defense: defense.name(),
        clean: report.clean.accuracy,
        budgets: options.budgets().into_iter().zip(bounded.chunks(4)).map(under).collect(),
        semantic: semantic.map(|(attack, under)| Semantic { attack, right: under.worst_case }).collect(),
        weakest: None,
        detail: serde_json::to_value(&report).expect("plain data serialises"),
    })
}
