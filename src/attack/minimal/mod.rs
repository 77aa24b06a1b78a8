//! Attacks that look for the smallest change that reaches the goal, one file each.

mod carlini_wagner;
mod deepfool;
mod ead;
mod fab;
mod jsma;
mod lbfgs;
mod minimal_fgsm;
mod saliency;

pub use carlini_wagner::{CarliniWagner, CarliniWagnerLinf};
pub use deepfool::DeepFool;
pub use ead::{DecisionRule, Ead};
pub use fab::Fab;
pub use jsma::Jsma;
pub use lbfgs::Lbfgs;
pub use minimal_fgsm::MinimalFgsm;
