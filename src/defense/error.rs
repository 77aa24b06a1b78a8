//! Why a defense could not be applied.

use thiserror::Error;

use crate::attack::AttackError;
use crate::parameter::ParameterError;

/// Why a defense could not be applied.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum DefenseError {
    /// A parameter is out of its documented range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// An attack inside the defense refused to start.
    #[error(transparent)]
    Attack(#[from] AttackError),
}
