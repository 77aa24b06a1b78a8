//! What tells one attack from another: its settings, serialised.

use serde::Serialize;
use serde_json::Value;

/// Settings as JSON, of whatever serialises: journals and reports know an attack by them.
///
/// burn's `Config` serialises; so does `#[derive(Serialize)]`.
pub trait Settings {
    /// All settings that decide on the result.
    fn settings(&self) -> Value;
}

impl<T: Serialize> Settings for T {
    fn settings(&self) -> Value {
        serde_json::to_value(self).expect("settings are plain data")
    }
}
