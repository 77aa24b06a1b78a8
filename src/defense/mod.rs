//! Defenses: what a training step minimises, and randomized smoothing.

mod error;
mod objective;
pub mod smoothing;

pub use error::DefenseError;
pub use objective::{
    Awp, Crafting, CrossEntropy, EnsembleAt, FgsmRs, GaussianNoise, Loss, Objective, PgdAt, Step, Trades,
    Trainee, Weight, cross_entropy,
};
pub use smoothing::{SmoothAdv, Smoothing};
