//! Adversarial training by single steps from random starts.

use burn::config::Config;
use burn::tensor::Tensor;

use super::base::{Loss, Objective};
use super::crafting::Crafting;
use super::pgd_at::PgdAt;
use super::step::Step;
use super::trainee::Trainee;
use crate::data::Batch;
use crate::defense::DefenseError;
use crate::parameter::{self, Parameter};
use crate::pixels::{Budget, Epsilon, Norm};

/// Fast adversarial training: the mean cross-entropy of what one sign step from a random start makes of the
/// images, at twice the cost of plain training.
///
/// Wong, Rice & Kolter, "Fast is better than free: Revisiting adversarial training", ICLR 2020, algorithm 3:
/// `d` uniform in \[-epsilon, epsilon\] in every value, then `d = clip(d + alpha * sign(grad CE(f(x + d),
/// y)), -epsilon, epsilon)`, and `x + d` is cut to \[0,1\]. Starts are fresh in each epoch.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required; 8/255 in the paper's CIFAR-10 | a finite number of at least 0 |
/// | norm | the budget's | Linf |
/// | step size (alpha) | 1.25 budgets | a finite number above 0 |
/// | crafting | evaluation mode | |
/// | seed | 0 | any |
///
/// The paper's code, fast_adversarial, has variants. This is its `train_fgsm.py` for CIFAR-10, which cuts the
/// image with `d` to \[0,1\] before the gradient as well as after the step; its MNIST script does not cut before, and
/// its ImageNet script cuts the image alone and not `d`. All of them craft in training mode, as
/// [`Crafting::Training`] does: batch norm sees each batch twice, and the running statistics move twice a
/// step.
///
/// **Catastrophic overfitting** (section 5.4 of the paper): at larger budgets, larger steps or in long runs
/// the network learns within an epoch to answer single steps, and loses everything against attacks of
/// several, while its accuracy without attack often rises. Training watches for it by its validation attack,
/// ends, and goes back to the epoch before; see `train::History::overfitting`.
///
/// ```
/// use histoguard::prelude::*;
/// # #[cfg(feature = "train")]
/// # {
///
/// let trainer = Trainer::new(TrainingConfig::paper()).objective(FgsmRs::new(Budget::pixels(2.0)));
/// # }
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct FgsmRs {
    /// How far each image is changed.
    pub budget: Budget,
    /// The length of the step; 1.25 budgets without one.
    pub step_size: Option<Epsilon>,
    /// The mode of the network while images are crafted.
    #[config(default = "Crafting::Evaluation")]
    pub crafting: Crafting,
    /// The seed of the random starts.
    #[config(default = 0)]
    pub seed: u64,
}

impl FgsmRs {
    /// The same as projected gradient descent of one step.
    pub(super) fn as_pgd(&self) -> PgdAt {
        let usual = Epsilon::unit(1.25 * self.budget.size());
        PgdAt::new(self.budget)
            .with_steps(1)
            .with_step_size(Some(self.step_size.unwrap_or(usual)))
            .with_crafting(self.crafting)
            .with_seed(self.seed)
    }
}

impl Objective for FgsmRs {
    fn name(&self) -> String {
        "FGSM-RS".into()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = self.as_pgd().ascent().parameters(&[Norm::Linf]);
        // There is one, always.
        parameters.retain(|parameter| parameter.name() != "steps");
        [vec![self.budget.parameter("budget")], parameters].concat()
    }

    fn craft(&self, step: &Step<'_>) -> Result<Tensor<4>, DefenseError> {
        parameter::check(self.parameters())?;
        self.as_pgd().craft(step)
    }

    fn loss(&self, network: &dyn Trainee, batch: &Batch, crafted: Tensor<4>) -> Loss {
        self.as_pgd().loss(network, batch, crafted)
    }

    fn budget(&self) -> Option<Budget> {
        Some(self.budget)
    }
}
