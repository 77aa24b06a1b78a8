//! Running attacks over a data set, and what to conclude from them.
//!
//! [`Evaluation`] classifies every image, attacks those that were classified correctly, holds the attack
//! to its budget and gives a [`Robustness`]: [`Metrics`] without attack and at every epsilon, and one
//! [`ImageRecord`] an image. [`pooled`] joins the records of several runs.

mod budget;
mod error;
mod evaluation;
mod interval;
mod metrics;
mod outcome;
mod perturbation;
mod robustness;
mod similarity;

pub use error::EvaluationError;
pub use evaluation::{Evaluation, Progress};
pub use interval::{Estimate, Interval, Proportion, wilson};
pub use metrics::{ClassMetrics, Confusion, Judged, Metrics, auroc};
pub use outcome::{AttackRecord, GradientState, ImageRecord, Outcome};
pub use perturbation::{Distances, Perturbation, Summary};
pub use robustness::{Robustness, UnderAttack, pooled};
pub use similarity::{psnr, ssim};
