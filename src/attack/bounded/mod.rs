//! Attacks that do as much harm as a budget allows, one file each.

mod apgd;
mod bim;
mod fgsm;
mod mi_fgsm;
mod pgd;
mod random_noise;
mod rfgsm;

pub use apgd::{Apgd, ApgdLoss};
pub use bim::Bim;
pub use fgsm::Fgsm;
pub use mi_fgsm::{InputDiversity, MiFgsm, VarianceTuning};
pub use pgd::Pgd;
pub use random_noise::{NoiseKind, RandomNoise};
pub use rfgsm::RFgsm;
