//! Adversarial attacks: the [`Attack`] trait, what to aim for ([`Goal`]) and one file an attack.

mod access;
mod base;
mod error;
mod fgsm;
mod goal;
mod norm;
pub(crate) mod rows;

pub use access::Access;
pub use base::Attack;
pub use error::AttackError;
pub use fgsm::Fgsm;
pub use goal::{Goal, IntoLabels};
pub use norm::Norm;
