//! Classifiers that reject, and how they fare.

mod answer;
mod attacked;
mod base;
mod report;

pub use answer::Answer;
pub use base::Guard;
pub use report::{Attacked, CleanRates, DetectorRates, GuardReport, Separation};
