//! How far an attack may go: a size with its norm.

use std::cmp::Ordering;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Epsilon, Norm};
use crate::parameter::Parameter;

/// The largest perturbation of an image: its size with the norm that measures it.
///
/// ```
/// use histoguard::pixels::{Budget, Epsilon};
///
/// let budget = Budget::pixels(8.0);
/// assert_eq!(budget, Budget::linf(Epsilon::unit(8.0 / 255.0)));
/// assert_eq!((budget.to_string(), Budget::l2(0.5).to_string()), ("Linf 8/255".into(), "L2 0.5".into()));
/// // Sizes of different norms do not compare.
/// assert!(Budget::pixels(1.0) < budget && !(Budget::l2(0.5) > budget) && !(Budget::l2(0.5) < budget));
/// ```
///
/// A bare number is not a budget, nor is a size without a norm:
///
/// ```compile_fail
/// use histoguard::attack::Fgsm;
///
/// let attack = Fgsm::new(8.0);
/// ```
///
/// ```compile_fail
/// use histoguard::prelude::*;
///
/// let attack = Fgsm::new(Epsilon::pixels(8.0));
/// ```
///
/// In JSON the unit is written out: `{"norm":"Linf","size":8.0,"unit":"/255"}`, `{"norm":"L2","size":0.5,"unit":"[0,1]"}`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    norm: Norm,
    epsilon: Epsilon,
}

impl Budget {
    /// So much of this norm, chosen at run time.
    pub const fn new(norm: Norm, epsilon: Epsilon) -> Self {
        Self { norm, epsilon }
    }

    /// Each value may change by so many 8-bit grey levels.
    pub const fn pixels(levels: f64) -> Self {
        Self::linf(Epsilon::pixels(levels))
    }

    /// Each value may change by so much.
    pub const fn linf(epsilon: Epsilon) -> Self {
        Self::new(Norm::Linf, epsilon)
    }

    /// The change of the whole image on the \[0,1\] scale may have this Euclidean length.
    pub const fn l2(length: f64) -> Self {
        Self::new(Norm::L2, Epsilon::unit(length))
    }

    /// The absolute changes of the whole image on the \[0,1\] scale may have this sum.
    pub const fn l1(sum: f64) -> Self {
        Self::new(Norm::L1, Epsilon::unit(sum))
    }

    /// So many values may change, a pixel's channels counted singly.
    pub const fn l0(values: usize) -> Self {
        Self::new(Norm::L0, Epsilon::unit(values as f64))
    }

    /// The norm that measures it.
    pub const fn norm(self) -> Norm {
        self.norm
    }

    /// Its size.
    pub const fn epsilon(self) -> Epsilon {
        self.epsilon
    }

    /// Its size on the \[0,1\] scale.
    pub const fn size(self) -> f64 {
        self.epsilon.value()
    }

    /// Its size as readers know it: grey levels for L-infinity, else the norm over the image.
    pub const fn level(self) -> f64 {
        match self.norm {
            Norm::Linf => self.epsilon.as_pixels(),
            _ => self.epsilon.value(),
        }
    }

    /// Whether it allows no change.
    pub fn is_zero(self) -> bool {
        self.epsilon == Epsilon::ZERO
    }

    /// Whether a perturbation of this length keeps to it, but for the rounding of single precision: a relative 1e-4 and
    /// 1e-6; NaN does not.
    pub fn holds(self, length: f64) -> bool {
        length <= self.size() * (1.0 + 1e-4) + 1e-6
    }

    /// The same norm with another size.
    pub const fn with_epsilon(self, epsilon: Epsilon) -> Self {
        Self::new(self.norm, epsilon)
    }

    /// The size without the norm, where that is said elsewhere: `8/255` or `0.5`.
    pub fn shown(self) -> String {
        match self.norm {
            Norm::Linf => self.epsilon.to_string(),
            _ => format!("{}", (self.size() * 1e4).round() / 1e4),
        }
    }

    /// The same budget with a [`level`](Self::level) of at most 12 significant digits, which JSON gives back exactly.
    pub fn rounded(self) -> Self {
        Self::of_level(self.norm, round(self.level()))
    }

    /// By norm, then by size.
    pub fn total_cmp(&self, other: &Self) -> Ordering {
        (self.norm as u8).cmp(&(other.norm as u8)).then(self.size().total_cmp(&other.size()))
    }

    /// Its size beside what it may be.
    pub fn parameter(self, name: &'static str) -> Parameter {
        Parameter::from_zero(name, self.size())
    }

    fn of_level(norm: Norm, level: f64) -> Self {
        match norm {
            Norm::Linf => Self::pixels(level),
            _ => Self::new(norm, Epsilon::unit(level)),
        }
    }

    const fn unit(self) -> &'static str {
        match self.norm {
            Norm::Linf => "/255",
            Norm::L2 | Norm::L1 => "[0,1]",
            Norm::L0 => "values",
        }
    }
}

/// Of one norm by size; budgets of two norms do not compare.
impl PartialOrd for Budget {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        if self.norm == other.norm { self.epsilon.partial_cmp(&other.epsilon) } else { None }
    }
}

/// For example `Linf 8/255` or `L2 0.5`.
impl std::fmt::Display for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.norm, self.shown())
    }
}

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    norm: Norm,
    size: f64,
    #[serde(borrow)]
    unit: std::borrow::Cow<'a, str>,
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Written { norm: self.norm, size: self.level(), unit: self.unit().into() }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Written { norm, size, unit } = Written::deserialize(from)?;
        let budget = Self::of_level(norm, size);
        match unit == budget.unit() {
            true => Ok(budget),
            false => Err(serde::de::Error::custom(format!(
                "unit of a budget in {norm}: expected {}, found {unit}",
                budget.unit()
            ))),
        }
    }
}

/// To 12 significant digits: enough for any report, and read back from JSON unchanged by every parser.
pub(crate) fn round(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_the_unit_and_gives_back_what_was_written() {
        for (budget, text) in [
            (Budget::pixels(0.5), r#"{"norm":"Linf","size":0.5,"unit":"/255"}"#),
            (Budget::l2(0.25), r#"{"norm":"L2","size":0.25,"unit":"[0,1]"}"#),
            (Budget::l1(12.5), r#"{"norm":"L1","size":12.5,"unit":"[0,1]"}"#),
            (Budget::l0(30), r#"{"norm":"L0","size":30.0,"unit":"values"}"#),
        ] {
            assert_eq!(serde_json::to_string(&budget).unwrap(), text);
            assert_eq!(serde_json::from_str::<Budget>(text).unwrap(), budget);
        }
        let mixed = serde_json::from_str::<Budget>(r#"{"norm":"L2","size":8.0,"unit":"/255"}"#).unwrap_err();
        assert!(mixed.to_string().contains("budget in L2: expected [0,1], found /255"), "{mixed}");
    }

    #[test]
    fn rounded_levels_survive_json() {
        for budget in [Budget::linf(Epsilon::unit(0.03)), Budget::l2(1.0 / 3.0)] {
            let rounded = budget.rounded();
            assert!((rounded.size() / budget.size() - 1.0).abs() < 1e-11);
            let text = serde_json::to_string(&rounded).unwrap();
            assert_eq!(serde_json::from_str::<Budget>(&text).unwrap(), rounded);
        }
    }

    #[test]
    fn shown_in_the_unit_of_the_norm() {
        assert_eq!(Budget::pixels(0.5).shown(), "0.5/255");
        assert_eq!(Budget::l2(0.25).shown(), "0.25");
        assert_eq!(Budget::l0(12).to_string(), "L0 12");
    }
}
