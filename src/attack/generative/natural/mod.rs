//! Natural adversarial examples: a generator of images, its inverter, and the search between them.

#[cfg(test)]
mod against_references;
mod attack;
mod config;
mod critic;
mod generator;
mod inverter;
mod losses;
mod models;
mod reconstruction;
mod search;
mod shells;
mod training;
mod wgan;

pub use attack::Natural;
pub use config::LatentConfig;
pub use critic::Critic;
pub use generator::LatentGenerator;
pub use inverter::Inverter;
pub use losses::WganLosses;
pub use reconstruction::{Reconstruction, ReconstructionLimits};
pub use search::{NaturalAdversary, NaturalExample, NaturalOutcome};
pub use shells::{ShellOrder, ShellSearch};
pub use training::WganTraining;
pub use wgan::Wgan;
