//! Attacks that look for the smallest change that reaches the goal, one file each.

mod carlini_wagner;
mod ddn;
mod deepfool;
mod ead;
mod fab;
mod fmn;
mod jsma;
mod lbfgs;
mod minimal_fgsm;
mod saliency;
mod sigma_zero;

pub use carlini_wagner::{CarliniWagner, CarliniWagnerLinf};
pub use ddn::Ddn;
pub use deepfool::DeepFool;
pub use ead::{DecisionRule, Ead};
pub use fab::Fab;
pub use fmn::Fmn;
pub use jsma::Jsma;
pub use lbfgs::Lbfgs;
pub use minimal_fgsm::MinimalFgsm;
pub use sigma_zero::SigmaZero;
