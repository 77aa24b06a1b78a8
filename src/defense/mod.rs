//! Defenses: what a training step minimises.

mod error;
mod objective;

pub use error::DefenseError;
pub use objective::{
    Crafting, CrossEntropy, FgsmRs, GaussianNoise, Loss, Objective, PgdAt, Step, Trainee, Weight,
    cross_entropy,
};
