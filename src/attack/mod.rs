//! Adversarial attacks: the [`Attack`] trait, what to aim for ([`Goal`]) and one file an attack.

mod adam;
mod base;
mod best;
mod carlini_wagner;
mod constant;
mod deepfool;
mod ead;
mod error;
mod fgsm;
mod goal;
mod hinge;
mod hopskipjump;
mod jsma;
mod lbfgs;
mod norm;
mod parameters;
mod rows;
mod saliency;
mod tanh_space;

pub use base::Attack;
pub use carlini_wagner::{CarliniWagner, CarliniWagnerLinf};
pub use deepfool::DeepFool;
pub use ead::{DecisionRule, Ead};
pub use error::AttackError;
pub use fgsm::Fgsm;
pub use goal::{Goal, IntoLabels};
pub use hopskipjump::HopSkipJump;
pub use jsma::Jsma;
pub use lbfgs::Lbfgs;
pub use norm::Norm;
