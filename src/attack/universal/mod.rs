//! One perturbation, or one patch, for all images, learned beforehand.

mod deepfool_uap;
mod patch;
mod perturbation;
mod sgd_uap;

pub use deepfool_uap::DeepFoolUap;
pub use patch::{AdversarialPatch, Patch, PatchOptimizer, PatchOverlay, PatchShape, Placement, Places};
pub use perturbation::UniversalPerturbation;
pub use sgd_uap::SgdUap;
