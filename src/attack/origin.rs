//! How a learned attack came about.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::pixels::round;

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
        Self { method: method.into(), settings: rounded(settings), passes: 0, images: 0, finished: false }
    }
}

/// Numbers as JSON gives them back exactly.
fn rounded(settings: Value) -> Value {
    match settings {
        Value::Number(number) if number.is_f64() => number.as_f64().map(round).into(),
        Value::Array(items) => items.into_iter().map(rounded).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, rounded(value))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_the_same_after_a_file() {
        for number in [0.1 + 0.2, 2.0f64.powf(1.0 / 3.0) * 1e-7, 7.649_999_999_999_999_5] {
            let settings = serde_json::json!({ "nested": [{ "number": number }], "count": 3, "none": null });
            let origin = Origin::new("method", settings);
            let text = serde_json::to_string(&origin).unwrap();
            assert_eq!(serde_json::from_str::<Origin>(&text).unwrap(), origin, "{text}");
            let kept = origin.settings["nested"][0]["number"].as_f64().unwrap();
            assert!((kept / number - 1.0).abs() < 1e-11);
            assert_eq!(origin.settings["count"], 3);
        }
    }
}
