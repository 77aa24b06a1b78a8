//! Whether a requirement is met.

use serde::{Deserialize, Serialize};

/// One requirement held against one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgment {
    /// The model's name.
    pub model: String,
    /// The requirement's text.
    pub requirement: String,
    /// Whether the model meets it.
    pub met: bool,
    /// What was found, such as `71.2 % [60.0, 80.3] (52/73)`.
    pub found: String,
}
