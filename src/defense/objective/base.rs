//! The trait of what a training step minimises.

use std::fmt::Debug;

use burn::tensor::Tensor;
use serde::{Serialize, Serializer};

use super::step::Step;
use super::trainee::Trainee;
use crate::attack::Settings;
use crate::data::Batch;
use crate::defense::DefenseError;
use crate::parameter::Parameter;
use crate::pixels::Budget;

/// What a training step minimises: noise, adversarial training, and the like.
///
/// A step crafts its images, asks for the loss, and follows its gradient. It has no state of its own: what it
/// draws comes from its seed, the epoch and each image's index, so that a run that was resumed ends as one
/// that was not interrupted.
///
/// ```
/// use histoguard::attack::prelude::*;
/// use histoguard::data::Batch;
/// use histoguard::defense::{DefenseError, Loss, Objective, Step, Trainee, cross_entropy};
/// use histoguard::prelude::*;
///
/// /// Trains on what one step of FGSM makes of the images (Goodfellow et al., ICLR 2015).
/// #[derive(Config, Debug)]
/// pub struct FgsmTraining {
///     /// How far each image is changed.
///     pub budget: Budget,
/// }
///
/// impl Objective for FgsmTraining {
///     fn name(&self) -> String {
///         "FGSM training".into()
///     }
///
///     fn parameters(&self) -> Vec<Parameter> {
///         Vec::new()
///     }
///
///     fn craft(&self, step: &Step<'_>) -> Result<Tensor<4>, DefenseError> {
///         let images = step.batch().images.clone();
///         Ok(Fgsm::new(self.budget).perturb(step.victim(), images, &step.goal())?)
///     }
///
///     fn loss(&self, network: &dyn Trainee, batch: &Batch, crafted: Tensor<4>) -> Loss {
///         cross_entropy(network, crafted, batch.labels.clone())
///     }
///
///     fn budget(&self) -> Option<Budget> {
///         Some(self.budget)
///     }
/// }
/// ```
pub trait Objective: Settings + Debug + Send + Sync {
    /// The objective's name in reports.
    fn name(&self) -> String;

    /// The parameters beside their documented ranges.
    fn parameters(&self) -> Vec<Parameter>;

    /// The images to train on instead of the batch's. [`Step::victim`] is the network in evaluation mode:
    /// crafting on it moves no running statistics.
    ///
    /// # Shapes
    ///
    /// - output: as the batch's images, values in \[0,1\] unless the objective says otherwise;
    ///   outside autodiff or in it
    ///
    /// # Errors
    ///
    /// [`DefenseError`] on an attack that refuses.
    fn craft(&self, step: &Step<'_>) -> Result<Tensor<4>, DefenseError>;

    /// The loss of what [`craft`](Self::craft) made of this batch, in one forward pass or several.
    fn loss(&self, network: &dyn Trainee, batch: &Batch, crafted: Tensor<4>) -> Loss;

    /// Where in the space of weights the gradient is taken, if not at the network's own
    /// ([`Trainee::moved`]); the step that follows starts from the network's own weights all the same.
    fn place(&self, network: &dyn Trainee, batch: &Batch, crafted: &Tensor<4>) -> Option<Box<dyn Trainee>> {
        let _ = (network, batch, crafted);
        None
    }

    /// How far the images are changed by somebody who means it: training then chooses its epoch by the
    /// accuracy under an attack with this budget. `None` if the objective is not adversarial.
    fn budget(&self) -> Option<Budget> {
        None
    }
}

impl<O: Objective + 'static> From<O> for Box<dyn Objective> {
    fn from(objective: O) -> Self {
        Box::new(objective)
    }
}

/// Name and settings: what tells an objective from others.
impl Serialize for dyn Objective + '_ {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        serde_json::json!({ "objective": self.name(), "settings": self.settings() }).serialize(to)
    }
}

/// What a training step minimises, and what its accuracy is told by.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The loss `[1]`, with its graph.
    pub value: Tensor<1>,
    /// Class scores of the batch's images, one row an image: of the crafted ones where they are trained on.
    pub logits: Tensor<2>,
}
