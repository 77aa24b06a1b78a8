//! Plain training.

use burn::config::Config;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Int, Tensor};

use super::base::{Loss, Objective};
use super::step::Step;
use super::trainee::Trainee;
use crate::data::Batch;
use crate::defense::DefenseError;
use crate::parameter::Parameter;

/// The mean cross-entropy of the images as they are: training without a defense.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub struct CrossEntropy {}

impl Objective for CrossEntropy {
    fn name(&self) -> String {
        "cross-entropy".into()
    }

    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    fn craft(&self, step: &Step<'_>) -> Result<Tensor<4>, DefenseError> {
        Ok(step.batch().images.clone())
    }

    fn loss(&self, network: &dyn Trainee, batch: &Batch, crafted: Tensor<4>) -> Loss {
        cross_entropy(network, crafted, batch.labels.clone())
    }
}

/// The mean cross-entropy of these images, in nats: the loss of most objectives.
///
/// # Shapes
///
/// - `images`: `[batch, channels, height, width]`
/// - `labels`: `[batch]`
pub fn cross_entropy(network: &dyn Trainee, images: Tensor<4>, labels: Tensor<1, Int>) -> Loss {
    let logits = network.logits(images);
    let value = CrossEntropyLossConfig::new().init(&logits.device()).forward(logits.clone(), labels);
    Loss { value, logits }
}
