//! Running attacks over a data set, and what to conclude from them.
//!
//! [`Evaluation`] classifies every image, attacks those that were classified correctly and holds the attacks
//! to their budgets. Its result is a [`Robustness`], accuracy over epsilon under one attack or the worst of
//! several, or a [`Battery`]: each attack, the worst case of all, slides, bootstrap intervals, costs, and the
//! [`Check`]s that say whether to believe it. [`pooled`] joins the records of several runs;
//! [`TransferMatrix`] says which model's adversarial images break which other model.

mod battery;
mod bootstrap;
mod budget;
mod checks;
mod crafting;
mod engine;
mod error;
mod evaluation;
mod interval;
mod journal;
mod metrics;
mod outcome;
mod perturbation;
mod plan;
mod robustness;
mod similarity;
mod transfer;
mod worst_case;

pub use battery::{
    AtEpsilon, AttackResult, AttackTiming, AttackedImage, Battery, BatteryRecord, CleanResult, Detail, Flip,
    MinimalPerturbation, Slide, Timing,
};
pub use bootstrap::Bootstrap;
pub(crate) use budget::shown;
pub use checks::{Check, Verdict};
pub use error::EvaluationError;
pub use evaluation::{Evaluation, Progress};
pub use interval::{Estimate, Interval, Proportion, wilson};
pub use metrics::{ClassMetrics, Confusion, Judged, Metrics, auroc};
pub use outcome::{AttackRecord, GradientState, ImageRecord, Outcome};
pub use perturbation::{Distances, Perturbation, Summary};
pub use robustness::{Robustness, UnderAttack, pooled};
pub use similarity::{psnr, ssim};
pub use transfer::{TransferMatrix, Transferred};
pub use worst_case::WorstCase;
