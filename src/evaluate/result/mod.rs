//! What came out of an evaluation: rates with intervals, attack by attack, image by image.

mod attack_result;
mod certification_result;
mod check;
mod evaluation_result;
mod metrics;
mod minimal;
mod outcome;
mod perturbation;
mod pooled;
mod semantic_result;
mod under_attack;
mod views;
mod worst_case;

pub use attack_result::AttackResult;
pub(super) use attack_result::{Cost, Ran, readable};
pub use certification_result::{CertificationResult, CertifiedImage};
pub(super) use check::About;
pub use check::{Check, Verdict};
pub(super) use evaluation_result::Setting;
pub use evaluation_result::{AttackTiming, CleanResult, EvaluationResult, Timing};
pub(super) use metrics::share;
pub use metrics::{ClassMetrics, Confusion, Judged, Metrics};
pub use minimal::MinimalPerturbation;
pub use outcome::{AttackRecord, AttackedImage, GradientState, ImageRecord, Outcome, Violations};
pub use perturbation::{Perturbation, Summary};
pub use pooled::pooled;
pub use semantic_result::SemanticResult;
pub use under_attack::{Detail, Flip, Slide, UnderAttack};
pub use views::{AttackView, AttackViews};
pub use worst_case::WorstCase;
