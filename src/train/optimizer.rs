//! How weights follow their gradients.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{ModuleOptimizer, SgdConfig};
use serde::{Deserialize, Serialize};

use crate::adam::Adam;
use crate::parameter::Parameter;

/// How weights follow their gradients, as PyTorch's optimizers do.
///
/// | field | paper | range |
/// | --- | --- | --- |
/// | beta_1, beta_2, epsilon | 0.9, 0.999, 1e-8, PyTorch's Adam | \[0,1), \[0,1), above 0 |
/// | momentum | \[0,1); 0.9 in the recipes of adversarial training | \[0,1) |
/// | weight_decay | 0; 2e-4 to 5e-4 in those recipes | a finite number of at least 0 |
///
/// ```
/// use histoguard::train::{Optimizer, Schedule, TrainingConfig};
///
/// // Madry's: momentum, weight decay, and a rate that falls twice.
/// let config = TrainingConfig {
///     learning_rate: 0.1,
///     optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 2e-4 },
///     schedule: Schedule::Piecewise { at: vec![0.5, 0.75], factor: 0.1 },
///     ..TrainingConfig::paper()
/// };
/// assert!(config.check().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Optimizer {
    /// Kingma & Ba, ICLR 2015.
    Adam {
        /// Decay of the gradient's mean.
        beta_1: f64,
        /// Decay of the gradient's mean square.
        beta_2: f64,
        /// Guard against division by zero.
        epsilon: f64,
        /// Share of each weight that is added to its gradient.
        weight_decay: f64,
    },
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Decay of the gradients' sum; 0 for none.
        momentum: f64,
        /// Whether the gradient is looked up where the momentum leads (Sutskever et al., ICML 2013).
        nesterov: bool,
        /// Share of each weight that is added to its gradient.
        weight_decay: f64,
    },
}

impl Optimizer {
    /// The paper's: PyTorch's Adam.
    pub const ADAM: Self = Self::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };

    /// SGD as in the recipes of adversarial training: momentum 0.9 and weight decay 5e-4.
    pub const SGD: Self = Self::Sgd { momentum: 0.9, nesterov: false, weight_decay: 5e-4 };

    pub(super) fn parameters(&self) -> Vec<Parameter> {
        // As the optimizer takes them.
        let single = |value: f64| value as f32;
        let decay = |name, share: f64| {
            Parameter::new(name, "a number in [0,1)", (0.0..1.0).contains(&single(share)), share)
        };
        match *self {
            Self::Adam { beta_1, beta_2, epsilon, weight_decay } => vec![
                decay("beta_1", beta_1),
                decay("beta_2", beta_2),
                Parameter::above_zero("epsilon", single(epsilon).into()),
                Parameter::from_zero("weight_decay", weight_decay),
            ],
            Self::Sgd { momentum, nesterov, weight_decay } => vec![
                decay("momentum", momentum),
                Parameter::new("nesterov", "false without momentum", !nesterov || momentum > 0.0, nesterov),
                Parameter::from_zero("weight_decay", weight_decay),
            ],
        }
    }

    pub(super) fn init(&self) -> ModuleOptimizer {
        let penalty = |share: f64| (share > 0.0).then(|| WeightDecayConfig::new(share as f32));
        match *self {
            Self::Adam { beta_1, beta_2, epsilon, weight_decay } => Adam::new()
                .with_betas(beta_1 as f32, beta_2 as f32)
                .with_epsilon(epsilon as f32)
                .with_weight_decay(weight_decay as f32)
                .init(),
            Self::Sgd { momentum, nesterov, weight_decay } => {
                // burn dampens by default, PyTorch does not.
                let momentum = (momentum > 0.0).then(|| {
                    MomentumConfig::new().with_momentum(momentum).with_dampening(0.0).with_nesterov(nesterov)
                });
                SgdConfig::new().with_momentum(momentum).with_weight_decay(penalty(weight_decay)).init()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter::check;

    #[test]
    fn what_single_precision_makes_of_a_setting_must_be_in_range_too() {
        let Optimizer::Adam { beta_1, beta_2, epsilon, weight_decay } = Optimizer::ADAM else {
            unreachable!()
        };
        let adam = |beta_2, epsilon| Optimizer::Adam { beta_1, beta_2, epsilon, weight_decay };
        let refused = |adam: Optimizer| check(adam.parameters()).unwrap_err().to_string();
        check(Optimizer::ADAM.parameters()).unwrap();
        assert!(refused(adam(1.0 - 1e-9, epsilon)).contains("beta_2"));
        assert!(refused(adam(beta_2, 1e-50)).contains("epsilon"));
    }
}
