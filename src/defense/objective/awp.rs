//! Adversarial weight perturbation around another objective.

use burn::tensor::Tensor;
use serde::Serialize;

use super::base::{Loss, Objective};
use super::step::Step;
use super::trainee::{Trainee, Weight};
use crate::data::Batch;
use crate::defense::DefenseError;
use crate::parameter::Parameter;
use crate::pixels::Budget;

/// Adversarial weight perturbation: another objective, with its gradient taken where the weights have been
/// moved up its loss.
///
/// Wu, Xia & Wang, "Adversarial Weight Perturbation Helps Robust Generalization", NeurIPS 2020, equations 8
/// to 10. The weights `w` of each layer are moved by `v = gamma * |w| / (|g| + 1e-20) * g`, where `g` is the
/// gradient of the objective's loss in training mode at a copy whose running statistics are its own. It makes
/// the loss flat around the weights, against robust overfitting.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | objective | required | any |
/// | gamma | 0.01; the paper has 0.005 around [`Trades`](super::Trades) | a finite number of at least 0 |
/// | warm-up | 0; about 10 around [`Trades`](super::Trades) | epochs, any |
///
/// As in the paper's code (AWP, `utils_awp.py`) weights of one dimension stay: biases and batch norm. Weights
/// that are not trained stay too. The images are crafted at the weights as they are.
///
/// The step starts from the weights as they were, bit for bit; the code adds `v` and subtracts it afterwards,
/// so that weight decay acts on `w + v` there and on `w` here. `train_trades_cifar.py` counts epochs from 1
/// and perturbs from `--awp-warmup` 10 on: a warm-up of 9. Its passes come in another order than those of
/// TRADES, which are kept here.
///
/// A step costs one forward and backward pass of the objective's loss more.
///
/// ```
/// use histoguard::prelude::*;
/// # #[cfg(feature = "train")]
/// # {
///
/// let objective = Awp::new(Trades::new(Budget::pixels(4.0))).with_gamma(0.005).with_warm_up(9);
/// assert_eq!(objective.name(), "TRADES-AWP");
/// let trainer = Trainer::new(TrainingConfig::paper()).objective(objective);
/// # }
/// ```
#[derive(Debug, Serialize)]
pub struct Awp {
    objective: Box<dyn Objective>,
    gamma: f64,
    warm_up: usize,
}

impl Awp {
    /// Around this objective, as its type or boxed.
    pub fn new(objective: impl Into<Box<dyn Objective>>) -> Self {
        Self { objective: objective.into(), gamma: 0.01, warm_up: 0 }
    }

    /// How far each layer's weights are moved, as a share of their Euclidean norm.
    pub fn with_gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }

    /// The number of epochs at the start in which the weights are not moved.
    pub fn with_warm_up(mut self, epochs: usize) -> Self {
        self.warm_up = epochs;
        self
    }

    fn perturbed(&self, weight: Weight) -> Tensor<1> {
        let Weight { dims, values, gradient, .. } = weight;
        if dims.len() < 2 {
            return values;
        }
        let length = |values: &Tensor<1>| values.clone().square().sum().sqrt();
        let scale = length(&values) / (length(&gradient) + 1e-20) * self.gamma;
        values + gradient * scale
    }
}

impl Objective for Awp {
    fn name(&self) -> String {
        format!("{}-AWP", self.objective.name())
    }

    fn parameters(&self) -> Vec<Parameter> {
        [vec![Parameter::from_zero("gamma", self.gamma)], self.objective.parameters()].concat()
    }

    fn craft(&self, step: &Step<'_>) -> Result<Tensor<4>, DefenseError> {
        self.objective.craft(step)
    }

    fn loss(&self, network: &dyn Trainee, batch: &Batch, crafted: Tensor<4>) -> Loss {
        self.objective.loss(network, batch, crafted)
    }

    fn place(&self, network: &dyn Trainee, batch: &Batch, crafted: &Tensor<4>) -> Option<Box<dyn Trainee>> {
        let place = self.objective.place(network, batch, crafted);
        if batch.epoch <= self.warm_up || self.gamma == 0.0 {
            return place;
        }
        let network = place.as_deref().unwrap_or(network);
        let apart = network.apart();
        let loss = self.objective.loss(&*apart, batch, crafted.clone());
        let gradients = apart.gradients(loss.value);
        Some(network.moved(&gradients, &mut |weight| self.perturbed(weight)))
    }

    fn budget(&self) -> Option<Budget> {
        self.objective.budget()
    }
}
