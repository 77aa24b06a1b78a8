//! One perturbation for all images, learned beforehand.

mod deepfool_uap;
mod perturbation;
mod sgd_uap;

pub use deepfool_uap::DeepFoolUap;
pub use perturbation::UniversalPerturbation;
pub use sgd_uap::SgdUap;
