//! Adversarial attacks: the [`Attack`] trait, what to aim for ([`Goal`]) and one file an attack.

mod ascent;
mod base;
mod bim;
mod draw;
mod error;
mod fgsm;
mod goal;
mod mi_fgsm;
mod minimal_fgsm;
mod norm;
mod pgd;
mod random_noise;
mod rfgsm;
mod rows;
mod transfer;
mod worst;

pub use base::Attack;
pub use bim::Bim;
pub use error::AttackError;
pub use fgsm::Fgsm;
pub use goal::{Goal, IntoLabels};
pub use mi_fgsm::MiFgsm;
pub use minimal_fgsm::MinimalFgsm;
pub use norm::Norm;
pub use pgd::Pgd;
pub use random_noise::RandomNoise;
pub use rfgsm::RFgsm;
pub use transfer::Transfer;
