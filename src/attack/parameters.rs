//! The checks that parameters of several attacks share.

use super::AttackError;
use super::base::check_parameter;

/// A count of at least one.
pub(crate) fn at_least_one(name: &'static str, count: usize) -> Result<(), AttackError> {
    check_parameter(count >= 1, name, "at least 1", count)
}

/// A finite number of at least zero.
pub(crate) fn from_zero(name: &'static str, value: f64) -> Result<(), AttackError> {
    check_parameter(value.is_finite() && value >= 0.0, name, "a finite number of at least 0", value)
}

/// A finite number above zero.
pub(crate) fn above_zero(name: &'static str, value: f64) -> Result<(), AttackError> {
    check_parameter(value.is_finite() && value > 0.0, name, "a finite number above 0", value)
}
