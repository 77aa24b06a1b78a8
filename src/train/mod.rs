//! Training a classifier with burn-train for an objective: checkpoints that survive a kill, resume, epochs chosen under attack.

mod checkpoint;
mod config;
mod data_parallel;
mod error;
mod history;
mod learnable;
mod no_log;
mod optimizer;
mod overfitting;
mod progress;
mod record;
mod schedule;
mod spread;
mod trainer;
mod validation;
mod watched;

pub use config::TrainingConfig;
pub use data_parallel::{DataParallel, SharedOptimizer};
pub use error::TrainError;
pub use history::History;
pub use optimizer::Optimizer;
pub use overfitting::Overfitting;
pub use record::{Attacked, EpochRecord};
pub use schedule::Schedule;
pub use trainer::{Trained, Trainer, train};
