//! Running attacks over a data set, and what to conclude from them.
//!
//! [`Evaluation`] classifies every image, attacks those that were classified correctly and holds the attacks
//! to their budgets. Its [`EvaluationResult`] has each attack, the worst case of all, slides, bootstrap
//! intervals, costs, and the [`Check`]s that say whether to believe it. [`pooled`] joins several runs;
//! [`Transferability`] says which model's adversarial images break which other model; [`Certification`] says
//! how far randomized smoothing is proven to hold. All three are a [`Run`]: in batches, resumable, with
//! progress, and in [shards](Shard) over many processes or machines.

mod certification;
mod checks;
mod error;
mod evaluation;
mod exhibits;
mod fooling;
mod patch_success;
mod result;
mod run;
mod transfer;

pub use certification::Certification;
pub use error::EvaluationError;
pub use evaluation::Evaluation;
pub use exhibits::{Answer, Exhibit, Version};
pub use fooling::Fooling;
pub use patch_success::{AtScale, OfClass, PatchSuccess, PatchTrial};
pub use result::{
    AttackRecord, AttackResult, AttackTiming, AttackView, AttackViews, AttackedImage, CertificationResult,
    CertifiedImage, Check, ClassMetrics, CleanResult, Confusion, Detail, EvaluationResult, Flip,
    GradientState, ImageRecord, Judged, Metrics, MinimalPerturbation, Outcome, Perturbation, SemanticResult,
    Slide, Summary, Timing, UnderAttack, Verdict, Violations, WorstCase, pooled,
};
pub use run::{Conduct, Progress, Run, Shard};
pub use transfer::{TransferMatrix, Transferability, Transferred};

pub use crate::pixels::{Distances, psnr, ssim};
pub use crate::statistics::{Bootstrap, Estimate, Interval, Proportion, auroc, wilson};
