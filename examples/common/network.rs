//! A DenseNet-121 trained on the images of an experiment.

use std::path::Path;

use burn::train::Interrupter;
use histoguard::data::{Split, TrainingRecord};
use histoguard::prelude::*;
use histoguard::train::{TrainError, Trained, Trainer};
use histoguard::weights::{self, WeightsError};

use crate::common::checkpoint::noted;
use crate::common::failure::Failure;
use crate::common::images::ImageOptions;
use crate::common::interrupt::interrupted;
use crate::common::output::note;

pub type Model = Normalized<DenseNet>;

/// Where the networks of an experiment start, and where they go.
pub struct Networks<'a> {
    pub images: &'a ImageOptions,
    /// A checkpoint to start from.
    pub init: Option<&'a Path>,
    pub out: &'a Path,
    pub resume: bool,
}

impl Networks<'_> {
    /// A new DenseNet-121, or the one of `--init`.
    pub fn start(&self, classes: usize) -> Result<Model, WeightsError> {
        let net = DenseNetConfig::densenet121(classes).init_seeded(&Device::default(), self.images.seed);
        let net = match self.init {
            Some(path) => weights::load_features(net, noted(path))?,
            None => net,
        };
        Ok(Normalized::new(net, Normalization::IMAGENET))
    }

    /// Trains one network, or goes on with it, and saves it under its name.
    pub fn train(
        &self,
        name: &str,
        trainer: Trainer,
        split: &Split,
        interrupter: &Interrupter,
    ) -> Result<Trained<Model>, Failure> {
        let model = self.start(split.train.classes().len())?;
        let source = self.images;
        let images = serde_json::json!({
            "data": source.data, "subset": source.subset, "images": source.images, "init": self.init,
            "split": source.split, "fold_file": source.fold_file, "counts": [split.train.len(), split.validation.len()],
        });
        let trained = trainer
            .directory(self.out.join("training").join(name))
            .settings(images)
            .resume(self.resume)
            .interrupter(interrupter.clone())
            .label(name)
            .fit(model, &split.train, &split.validation)
            .map_err(|error| match error {
                TrainError::Interrupted { .. } => {
                    interrupted(format!("{name}: {error} (--resume with the same options)"))
                }
                TrainError::Unfinished { .. } => Failure::wrong(format!("{error} (--resume)")),
                error => error.into(),
            })?;
        histoguard::model::release_memory();
        let path = self.out.join(format!("{name}.safetensors"));
        weights::save_safetensors(&trained.model.network, &path)?;
        let settings = serde_json::json!({ "images": source, "image_size": source.image_size() });
        TrainingRecord::of(split)?.with_settings(settings).write_beside(&path)?;
        note(format_args!("{name}: best epoch {} saved to {}", trained.best_epoch, path.display()));
        Ok(trained)
    }
}
