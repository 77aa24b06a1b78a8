//! The networks of the comparison.

use burn::train::Interrupter;
use histoguard::data::Split;
use histoguard::defense::{Awp, CrossEntropy, EnsembleAt, FgsmRs, GaussianNoise, Objective, PgdAt, Trades};
use histoguard::prelude::*;
use histoguard::train::{TrainError, Trained, Trainer};
use histoguard::weights::{self, WeightsError};

use crate::common::defend::options::{Defense, Options};
use crate::common::failure::Failure;
use crate::common::interrupt::interrupted;

pub type Model = Normalized<DenseNet>;

/// A new DenseNet-121, or the one of `--init`.
pub fn start(options: &Options, classes: usize) -> Result<Model, WeightsError> {
    let net = DenseNetConfig::densenet121(classes).init_seeded(&Device::default(), options.images.seed);
    let net = match &options.init {
        Some(path) => weights::load_features(net, path)?,
        None => net,
    };
    Ok(Normalized::new(net, Normalization::IMAGENET))
}

/// What a defense minimises; `undefended` is the network that was trained before all others.
fn objective(options: &Options, defense: Defense, undefended: Option<&Model>) -> Box<dyn Objective> {
    let (budget, steps, seed) = (options.budget(), options.steps, options.images.seed);
    let pgd = PgdAt::new(budget).with_steps(steps).with_seed(seed);
    match defense {
        Defense::Undefended => CrossEntropy::new().into(),
        Defense::Noise => GaussianNoise::new(options.sigma).with_seed(seed).into(),
        Defense::FgsmRs => FgsmRs::new(budget).with_seed(seed).into(),
        Defense::PgdAt => pgd.into(),
        Defense::PgdAwp => Awp::new(pgd).into(),
        Defense::Trades => Trades::new(budget).with_steps(steps).with_seed(seed).into(),
        Defense::Smoothing => {
            GaussianNoise::new(options.smoothing_sigma).with_clip(false).with_seed(seed).into()
        }
        Defense::EnsembleAt => {
            let source = undefended.expect("the undefended network is the first").clone();
            EnsembleAt::new(budget, [("undefended", Frozen::new(source))]).with_seed(seed).into()
        }
        other => unreachable!("{} trains no network", other.name()),
    }
}

/// Trains the network of one defense, or goes on with it, and saves it.
pub fn train(
    options: &Options,
    split: &Split,
    defense: Defense,
    undefended: Option<&Model>,
    interrupter: &Interrupter,
) -> Result<Trained<Model>, Failure> {
    let name = defense.name();
    let model = start(options, split.train.classes().len())?;
    let source = &options.images;
    let images = serde_json::json!({
        "data": source.data, "subset": source.subset, "images": source.images, "init": options.init,
        "split": source.split, "fold_file": source.fold_file, "counts": [split.train.len(), split.validation.len()],
    });
    let trained = Trainer::new(options.training())
        .objective(objective(options, defense, undefended))
        .directory(options.out.join("training").join(&name))
        .settings(images)
        .resume(options.resume)
        .interrupter(interrupter.clone())
        .label(&name)
        .fit(model, &split.train, &split.validation)
        .map_err(|error| match error {
            TrainError::Interrupted { .. } => {
                interrupted(format!("{name}: {error} (--resume with the same options)"))
            }
            TrainError::Unfinished { .. } => Failure::wrong(format!("{error} (--resume)")),
            error => error.into(),
        })?;
    histoguard::model::release_memory();
    let path = options.out.join(format!("{name}.safetensors"));
    weights::save_safetensors(&trained.model.network, &path)?;
    eprintln!("{name}: best epoch {} saved to {}", trained.best_epoch, path.display());
    Ok(trained)
}
