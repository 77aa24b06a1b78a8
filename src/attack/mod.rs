//! Adversarial attacks: the [`Attack`] trait, what to aim for ([`Goal`]) and one file an attack.

mod apgd;
mod auto_attack;
mod base;
mod classes;
mod ensemble;
mod error;
mod fab;
mod fgsm;
mod goal;
mod l1_box;
mod norm;
mod rows;
mod square;
mod start;

pub use apgd::{Apgd, ApgdLoss};
pub use auto_attack::AutoAttack;
pub use base::Attack;
pub use ensemble::Ensemble;
pub use error::AttackError;
pub use fab::Fab;
pub use fgsm::Fgsm;
pub use goal::{Goal, IntoLabels};
pub use norm::Norm;
pub use square::Square;
