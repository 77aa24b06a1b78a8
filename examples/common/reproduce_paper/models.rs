//! The two models of the paper: trained on the images as they are, and on noisy ones.

use burn::train::Interrupter;
use histoguard::data::Split;
use histoguard::defense::GaussianNoise;
use histoguard::prelude::*;
use histoguard::train::{TrainError, Trained, Trainer};
use histoguard::weights::{self, WeightsError};

use crate::common::failure::Failure;
use crate::common::interrupt::interrupted;
use crate::common::reproduce_paper::options::Options;

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

/// Trains one model; `sigma` is the noise of the defense.
pub fn train(
    options: &Options,
    split: &Split,
    name: &str,
    sigma: Option<f64>,
    interrupter: &Interrupter,
) -> Result<Trained<Model>, Failure> {
    let model = start(options, split.train.classes().len())?;
    let source = &options.images;
    let images = serde_json::json!({
        "data": source.data, "subset": source.subset, "images": source.images, "init": options.init,
        "split": source.split, "fold_file": source.fold_file, "counts": [split.train.len(), split.validation.len()],
    });
    let mut trainer = Trainer::new(options.training())
        .directory(options.out.join("training").join(name))
        .settings(images)
        .resume(options.resume)
        .interrupter(interrupter.clone())
        .label(name);
    if let Some(sigma) = sigma {
        trainer = trainer.objective(GaussianNoise::new(sigma).with_seed(options.images.seed));
    }
    let trained = trainer.fit(model, &split.train, &split.validation).map_err(|error| match error {
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
