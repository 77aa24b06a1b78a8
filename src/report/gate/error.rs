//! Why a requirement cannot be judged.

use thiserror::Error;

use crate::evaluate::EvaluationError;

/// Why a requirement cannot be judged; it names what was expected and what was found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GateError {
    /// A text is no requirement.
    #[error("requirement {text:?}: expected {expected}, found {found}")]
    Syntax {
        /// The whole text.
        text: String,
        /// What would fit.
        expected: &'static str,
        /// What does not.
        found: String,
    },
    /// A requirement is about an attack, a class or a budget that is not in the evaluation.
    #[error("requirement {text:?}: expected {expected}, found {found}")]
    Absent {
        /// The whole text.
        text: String,
        /// What there is.
        expected: String,
        /// What is not there.
        found: String,
    },
    /// The evaluation itself would be refused.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
}
