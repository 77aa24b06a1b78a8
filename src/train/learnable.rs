//! A classifier as burn-train sees it.

use std::sync::{Arc, Mutex};

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Int, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, Interrupter, TrainOutput, TrainStep};

use super::TrainError;
use super::history::Recorder;
use super::validation::Adversary;
use crate::classifier::{Classifier, Frozen, predictions};
use crate::data::Batch;
use crate::defense::{Loss, Objective, Step, cross_entropy};

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
    pub(super) objective: Arc<dyn Objective>,
    /// What validation images are put under.
    pub(super) adversary: Option<Adversary>,
    pub(super) recorder: Mutex<Recorder>,
    pub(super) interrupter: Interrupter,
    /// Devices that share a step, whose gradients burn-train adds.
    pub(super) devices: usize,
    /// The first error of a step, which burn-train's step cannot return.
    pub(super) error: Mutex<Option<TrainError>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("objective", &self.objective).finish_non_exhaustive()
    }
}

impl<C: Module> Learnable<C> {
    pub(super) fn new(model: C, shared: Arc<Shared>) -> Self {
        Self { model, context: Context(shared) }
    }
}

impl<C: Module> Learnable<C> {
    /// Records what came out of a batch, for burn-train to show.
    fn record(&self, loss: Loss, labels: Tensor<1, Int>, training: bool) -> ClassificationOutput {
        let Loss { value, logits } = loss;
        let mean = f64::from(value.clone().inner().into_scalar::<f32>());
        let wanted: Vec<i64> =
            labels.clone().inner().into_data().convert::<i64>().try_into_vec().expect("i64 after conversion");
        let predicted = predictions(logits.clone().inner());
        let right = predicted.iter().zip(&wanted).filter(|(p, w)| **p as i64 == **w).count();
        let mut recorder = self.context.0.recorder.lock().expect("no panic while recording");
        recorder.add(training, mean, right, wanted.len());
        let current = recorder.history.epochs.len() + 1;
        drop(recorder);
        if !mean.is_finite() {
            self.context.0.fail(TrainError::Diverged { epoch: current, loss: mean });
        }
        ClassificationOutput::new(value, logits, labels)
    }
}

impl Shared {
    pub(super) fn fail(&self, error: TrainError) {
        self.interrupter.stop(Some(&error.to_string()));
        self.error.lock().expect("no panic while storing an error").get_or_insert(error);
    }
}

impl<C: Module + ModuleDisplay + Classifier + Sync + 'static> TrainStep for Learnable<C> {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let objective = &self.context.0.objective;
        let crafted = objective.craft(&Step::new(&self.model, &batch)).unwrap_or_else(|error| {
            self.context.0.fail(error.into());
            batch.images.clone()
        });
        // Attacks leave autodiff, without which batch norm takes itself to be in evaluation mode.
        let crafted = crafted.autodiff();
        let place = objective.place(&self.model, &batch, &crafted);
        let network = place.as_deref().unwrap_or(&self.model);
        let loss = objective.loss(network, &batch, crafted);
        // The sum over devices of equal parts is the mean over the batch.
        let grads = network.gradients(loss.value.clone() / self.context.0.devices as f64);
        TrainOutput { grads, item: self.record(loss, batch.labels, true) }
    }
}

impl<C: Module + ModuleDisplay + Classifier + Sync + 'static> InferenceStep for Learnable<C> {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        if let Some(adversary) = &self.context.0.adversary {
            match adversary.measure(&Frozen::new(self.model.clone()), &batch) {
                Ok(sums) => {
                    self.context.0.recorder.lock().expect("no panic while recording").add_attacked(sums)
                }
                Err(error) => self.context.0.fail(TrainError::Defense(error.into())),
            }
        }
        let loss = cross_entropy(&self.model, batch.images, batch.labels.clone());
        self.record(loss, batch.labels, false)
    }
}
