//! Defenses: what a training step minimises.

mod error;
mod objective;

pub use error::DefenseError;
pub use objective::{
    Awp, Crafting, CrossEntropy, EnsembleAt, FgsmRs, GaussianNoise, Loss, Objective, PgdAt, Step, Trades,
    Trainee, Weight, cross_entropy,
};
