//! Adversarial attacks: the [`Attack`] trait, what to aim for ([`Goal`]) and one file an attack.

mod access;
mod ascent;
mod base;
mod bim;
mod draw;
mod error;
mod fgsm;
mod goal;
mod mi_fgsm;
mod norm;
mod pgd;
mod rfgsm;
pub(crate) mod rows;
mod worst;

pub use access::Access;
pub use base::Attack;
pub use bim::Bim;
pub use error::AttackError;
pub use fgsm::Fgsm;
pub use goal::{Goal, IntoLabels};
pub use mi_fgsm::MiFgsm;
pub use norm::Norm;
pub use pgd::Pgd;
pub use rfgsm::RFgsm;
