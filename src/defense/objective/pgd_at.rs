//! Adversarial training by projected gradient descent.

use burn::config::Config;
use burn::tensor::Tensor;

use super::base::{Loss, Objective};
use super::crafting::Crafting;
use super::cross_entropy::cross_entropy;
use super::step::Step;
use super::trainee::Trainee;
use crate::attack::steps::{Ascent, Steepest, random_start};
use crate::attack::{Attack, Pgd, Task};
use crate::data::Batch;
use crate::defense::DefenseError;
use crate::parameter::{self, Parameter};
use crate::pixels::{Budget, Epsilon, Norm};

/// Adversarial training: the mean cross-entropy of what projected gradient descent makes of the images, and
/// of nothing else.
///
/// Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, equation 2.1;
/// crafting as [`Pgd`] without its early stop, from a random point of the ball cut to \[0,1\], fresh in each
/// epoch.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required; 8/255 in the paper's CIFAR-10 | a finite number of at least 0 |
/// | norm | the budget's | Linf or L2 |
/// | steps | 7 | at least 1 |
/// | step size | a quarter of the budget | a finite number above 0 |
/// | crafting | evaluation mode | |
/// | seed | 0 | any |
///
/// Seven steps of 2/255 at 8/255 are the paper's CIFAR-10 (section 4); the `config.json` of its code,
/// cifar10_challenge, ships ten. That code crafts in training mode; its authors saw "little difference" in
/// evaluation mode (cifar10_challenge issue 22). Evaluation mode is the default here because batch norm's
/// statistics are then those of the images that are trained on, and an image's result does not depend on its
/// batch.
///
/// A step costs `steps + 1` times a plain one. The last epoch is seldom the most robust one (Rice, Wong &
/// Kolter, "Overfitting in adversarially robust deep learning", ICML 2020): training keeps the best under
/// attack.
///
/// ```
/// use histoguard::prelude::*;
/// # #[cfg(feature = "train")]
/// # {
///
/// let objective = PgdAt::new(Budget::pixels(4.0)).with_steps(10);
/// let trainer = Trainer::new(TrainingConfig::paper()).objective(objective);
/// # }
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct PgdAt {
    /// How far each image is changed.
    pub budget: Budget,
    /// Number of steps.
    #[config(default = 7)]
    pub steps: usize,
    /// The length of a step in the budget's norm; a quarter of the budget without one.
    pub step_size: Option<Epsilon>,
    /// The mode of the network while images are crafted.
    #[config(default = "Crafting::Evaluation")]
    pub crafting: Crafting,
    /// The seed of the random starts.
    #[config(default = 0)]
    pub seed: u64,
}

impl PgdAt {
    pub(super) fn ascent(&self) -> Ascent {
        Ascent::new(self.budget, self.steps, self.step_size, self.budget.size() / 4.0)
    }

    /// Climbs from where `start` says.
    pub(super) fn craft_from(
        &self,
        step: &Step<'_>,
        start: impl FnOnce(&Task<'_>) -> Tensor<4>,
    ) -> Result<Tensor<4>, DefenseError> {
        parameter::check(self.parameters())?;
        let profile = Pgd::new(self.budget).with_steps(self.steps).profile();
        let images = step.batch().images.clone();
        let task = Task::new(self.crafting.victim(step), images, &step.goal(), profile)?;
        let start = start(&task);
        Ok(self.ascent().climb(&task, start, &mut Steepest { early_stop: false })?)
    }
}

impl Objective for PgdAt {
    fn name(&self) -> String {
        "PGD-AT".into()
    }

    fn parameters(&self) -> Vec<Parameter> {
        [vec![self.budget.parameter("budget")], self.ascent().parameters(&[Norm::Linf, Norm::L2])].concat()
    }

    fn craft(&self, step: &Step<'_>) -> Result<Tensor<4>, DefenseError> {
        self.craft_from(step, |task| random_start(task, self.budget, step.seed(self.seed)))
    }

    fn loss(&self, network: &dyn Trainee, batch: &Batch, crafted: Tensor<4>) -> Loss {
        cross_entropy(network, crafted, batch.labels.clone())
    }

    fn budget(&self) -> Option<Budget> {
        Some(self.budget)
    }
}
