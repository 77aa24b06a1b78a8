//! Defenses: what a training step minimises.

mod error;
mod objective;

pub use error::DefenseError;
pub use objective::{CrossEntropy, GaussianNoise, Loss, Objective, Step, Trainee, Weight, cross_entropy};
