//! What a training step minimises: the [`Objective`] trait, what it sees, and one file an objective.

mod base;
mod cross_entropy;
mod gaussian_noise;
mod step;
mod trainee;

pub use base::{Loss, Objective};
pub use cross_entropy::{CrossEntropy, cross_entropy};
pub use gaussian_noise::GaussianNoise;
pub use step::Step;
pub use trainee::{Trainee, Weight};
