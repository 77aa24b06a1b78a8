//! How a learned attack came about.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a learned attack came about, and how far its method is with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The method's name, as its paper gives it.
    pub method: String,
    /// All its settings.
    pub settings: Value,
    /// Whole passes over the images so far.
    pub passes: usize,
    /// Images of a pass; 0 before the first.
    pub images: usize,
    /// Whether the method is done with it.
    pub finished: bool,
}

impl Origin {
    /// Of a method with these settings, before its first pass.
    pub fn new(method: impl Into<String>, settings: Value) -> Self {
        Self { method: method.into(), settings, passes: 0, images: 0, finished: false }
    }
}
