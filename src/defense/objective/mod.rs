//! What a training step minimises: the [`Objective`] trait, what it sees, and one file an objective.

#[cfg(test)]
mod against_pytorch;
mod awp;
mod base;
mod crafting;
mod cross_entropy;
mod ensemble_at;
mod fgsm_rs;
mod gaussian_noise;
mod pgd_at;
mod stain_augmentation;
mod step;
mod trades;
mod trainee;

pub use awp::Awp;
pub use base::{Loss, Objective};
pub use crafting::Crafting;
pub use cross_entropy::{CrossEntropy, cross_entropy};
pub use ensemble_at::EnsembleAt;
pub use fgsm_rs::FgsmRs;
pub use gaussian_noise::GaussianNoise;
pub use pgd_at::PgdAt;
pub use stain_augmentation::StainAugmentation;
pub use step::Step;
pub use trades::Trades;
pub use trainee::{Trainee, Weight};
