//! Parameters with their ranges: what is documented is what is checked.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;

use thiserror::Error;

/// A parameter out of its documented range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{parameter}: expected {expected}, found {found}")]
pub struct ParameterError {
    /// The parameter's name.
    pub parameter: Cow<'static, str>,
    /// Its documented range.
    pub expected: Cow<'static, str>,
    /// The value given.
    pub found: String,
}

/// A parameter's value beside its documented range.
///
/// ```
/// use histoguard::parameter::Parameter;
///
/// assert!(Parameter::at_least("steps", 10, 1).check().is_ok());
/// let error = Parameter::above_zero("step size", -0.5).check().unwrap_err();
/// assert_eq!(error.to_string(), "step size: expected a finite number above 0, found -0.5");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    name: Cow<'static, str>,
    range: Cow<'static, str>,
    fits: bool,
    found: String,
}

impl Parameter {
    /// A parameter that `fits` its range, or not.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        range: impl Into<Cow<'static, str>>,
        fits: bool,
        found: impl Display,
    ) -> Self {
        Self { name: name.into(), range: range.into(), fits, found: found.to_string() }
    }

    /// A count with a least value: `at least 1`.
    pub fn at_least(name: impl Into<Cow<'static, str>>, count: usize, least: usize) -> Self {
        Self::new(name, format!("at least {least}"), count >= least, count)
    }

    /// `a finite number of at least 0`.
    pub fn from_zero(name: impl Into<Cow<'static, str>>, value: f64) -> Self {
        Self::finite_from(name, value, 0.0)
    }

    /// A number with a least value: `a finite number of at least 1`.
    pub fn finite_from(name: impl Into<Cow<'static, str>>, value: f64, least: f64) -> Self {
        let text = format!("a finite number of at least {least}");
        Self::new(name, text, value.is_finite() && value >= least, value)
    }

    /// `a finite number above 0`.
    pub fn above_zero(name: impl Into<Cow<'static, str>>, value: f64) -> Self {
        Self::finite_above(name, value, 0.0)
    }

    /// A number above another: `a finite number above 1`.
    pub fn finite_above(name: impl Into<Cow<'static, str>>, value: f64, bound: f64) -> Self {
        let text = format!("a finite number above {bound}");
        Self::new(name, text, value.is_finite() && value > bound, value)
    }

    /// A number between two others or one of them: `a number from 0 to 1`.
    pub fn within(name: impl Into<Cow<'static, str>>, value: f64, range: RangeInclusive<f64>) -> Self {
        let text = format!("a number from {} to {}", range.start(), range.end());
        Self::new(name, text, range.contains(&value), value)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The range in words.
    pub fn range(&self) -> &str {
        &self.range
    }

    /// An error that names the parameter, unless its value fits.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] if the value is out of range.
    pub fn check(self) -> Result<(), ParameterError> {
        match self.fits {
            true => Ok(()),
            false => Err(ParameterError { parameter: self.name, expected: self.range, found: self.found }),
        }
    }
}

/// The first of these parameters that does not fit.
///
/// # Errors
///
/// [`ParameterError`] if one of the values is out of range.
pub fn check(parameters: impl IntoIterator<Item = Parameter>) -> Result<(), ParameterError> {
    parameters.into_iter().try_for_each(Parameter::check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_where_they_say() {
        assert!(
            Parameter::at_least("n", 1, 1).check().is_ok() && Parameter::at_least("n", 0, 1).check().is_err()
        );
        for (value, from_zero, above_zero, unit) in [
            (0.0, true, false, true),
            (1.0, true, true, true),
            (f64::MIN_POSITIVE, true, true, true),
            (-f64::MIN_POSITIVE, false, false, false),
            (1.0 + f64::EPSILON, true, true, false),
            (f64::NAN, false, false, false),
            (f64::INFINITY, false, false, false),
        ] {
            assert_eq!(Parameter::from_zero("x", value).check().is_ok(), from_zero, "{value}");
            assert_eq!(Parameter::above_zero("x", value).check().is_ok(), above_zero, "{value}");
            assert_eq!(Parameter::within("x", value, 0.0..=1.0).check().is_ok(), unit, "{value}");
        }
    }

    #[test]
    fn the_first_that_does_not_fit_is_named() {
        let parameters = [Parameter::at_least("a", 1, 1), Parameter::at_least("b", 0, 2)];
        assert_eq!(check(parameters).unwrap_err().to_string(), "b: expected at least 2, found 0");
    }
}
