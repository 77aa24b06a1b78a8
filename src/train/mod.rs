//! Training a classifier with burn-train: defenses on the batches, checkpoints that survive a kill, resume.

mod checkpoint;
mod config;
mod error;
mod history;
mod learnable;
mod no_log;
mod progress;
mod trainer;
mod watched;

pub use config::{Schedule, TrainingConfig};
pub use error::TrainError;
pub use history::{EpochRecord, History};
pub use trainer::{Trained, Trainer, train};
