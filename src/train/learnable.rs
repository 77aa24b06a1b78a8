//! A classifier as burn-train sees it.

use std::sync::{Arc, Mutex};

use burn::module::{Module, ModuleDisplay};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Int, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, Interrupter, TrainOutput, TrainStep};

use super::TrainError;
use super::history::Recorder;
use crate::classifier::{Classifier, predictions};
use crate::data::Batch;
use crate::defense::TrainTransform;

/// A classifier with what its training steps need beside the weights.
#[derive(Module, Debug)]
pub(super) struct Learnable<C: Module> {
    pub(super) model: C,
    #[module(skip)]
    context: Context,
}

/// Shared by all copies of the model that burn-train makes.
#[derive(Clone, Debug)]
pub(super) struct Context(Arc<Shared>);

pub(super) struct Shared {
    pub(super) transforms: Vec<Arc<dyn TrainTransform>>,
    pub(super) recorder: Mutex<Recorder>,
    pub(super) interrupter: Interrupter,
    /// The first error of a step, which burn-train's step cannot return.
    pub(super) error: Mutex<Option<TrainError>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("transforms", &self.transforms).finish_non_exhaustive()
    }
}

impl<C: Module> Learnable<C> {
    pub(super) fn new(model: C, shared: Arc<Shared>) -> Self {
        Self { model, context: Context(shared) }
    }
}

impl<C: Module + Classifier> Learnable<C> {
    fn forward(
        &self,
        images: Tensor<4>,
        labels: Tensor<1, Int>,
        epoch: Option<usize>,
    ) -> ClassificationOutput {
        let output = self.model.logits(images);
        let loss =
            CrossEntropyLossConfig::new().init(&output.device()).forward(output.clone(), labels.clone());
        let mean = f64::from(loss.clone().inner().into_scalar::<f32>());
        let wanted: Vec<i64> =
            labels.clone().inner().into_data().convert::<i64>().try_into_vec().expect("i64 after conversion");
        let predicted = predictions(output.clone().inner());
        let right = predicted.iter().zip(&wanted).filter(|(p, w)| **p as i64 == **w).count();
        let mut recorder = self.context.0.recorder.lock().expect("no panic while recording");
        recorder.add(epoch.is_some(), mean, right, wanted.len());
        let current = recorder.history.epochs.len() + 1;
        drop(recorder);
        if !mean.is_finite() {
            self.context.0.fail(TrainError::Diverged { epoch: current, loss: mean });
        }
        ClassificationOutput::new(loss, output, labels)
    }
}

impl Shared {
    pub(super) fn fail(&self, error: TrainError) {
        self.interrupter.stop(Some(&error.to_string()));
        self.error.lock().expect("no panic while storing an error").get_or_insert(error);
    }
}

impl<C: Module + ModuleDisplay + Classifier> TrainStep for Learnable<C> {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let mut changed = batch.clone();
        for transform in &self.context.0.transforms {
            match transform.apply(&self.model, changed) {
                Ok(next) => changed = next,
                Err(error) => {
                    self.context.0.fail(error.into());
                    changed = batch;
                    break;
                }
            }
        }
        let output = self.forward(changed.images, changed.labels, Some(changed.epoch));
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl<C: Module + ModuleDisplay + Classifier> InferenceStep for Learnable<C> {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.forward(batch.images, batch.labels, None)
    }
}
