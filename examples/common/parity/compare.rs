//! How far two results are apart, and how far they may be.

use std::fmt;

use serde::Serialize;

use super::case::Found;

/// Half a grey level.
pub const HALF_LEVEL: f64 = 0.5 / 255.0;

/// How far a device may be from the CPU, beside that answers have to be the same. Rounding differs from device to device;
/// what a step follows by its sign alone, or a search by whether an answer flips, jumps where a number is next to zero.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// The largest difference in a part, over the part's largest magnitude.
    Relative(f64),
    /// The L2 norm of the difference in a part, over the part's: where a ReLU is next to its kink, single values jump.
    Distance(f64),
    /// The share of values that differ by more than so much.
    Share { of_values: f64, beyond: f64 },
    /// The difference of a part's L2 norm, over the norm: how far an attack that looks for the smallest change went.
    Norm(f64),
    /// The largest difference of an image's margin, over the largest margin: how strong an attack was.
    Margin(f64),
}

impl Tolerance {
    /// So many times as wide.
    pub fn widened(self, factor: f64) -> Self {
        match self {
            Self::Relative(most) => Self::Relative(factor * most),
            Self::Distance(most) => Self::Distance(factor * most),
            Self::Share { of_values, beyond } => Self::Share { of_values: factor * of_values, beyond },
            Self::Norm(most) => Self::Norm(factor * most),
            Self::Margin(most) => Self::Margin(factor * most),
        }
    }

    /// Whether it holds. What is not finite is never tolerated.
    pub fn holds(self, difference: &Difference) -> bool {
        let numbers = match self {
            Self::Relative(most) => difference.relative <= most,
            Self::Distance(most) => difference.distance <= most,
            Self::Share { of_values, .. } => difference.share <= of_values,
            Self::Norm(most) => difference.norm <= most,
            Self::Margin(most) => difference.margin.is_some_and(|margin| margin <= most),
        };
        numbers && difference.finite && difference.other_answers == 0
    }

    /// Values that differ by more are counted.
    pub fn beyond(self) -> f64 {
        match self {
            Self::Share { beyond, .. } => beyond,
            Self::Relative(_) | Self::Distance(_) | Self::Norm(_) | Self::Margin(_) => HALF_LEVEL,
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative(most) => write!(f, "relative {most:.0e}"),
            Self::Distance(most) => write!(f, "distance {most}"),
            Self::Share { of_values, beyond } => write!(f, "{} % by {beyond:.0e}", 100.0 * of_values),
            Self::Norm(most) => write!(f, "norm {} %", 100.0 * most),
            Self::Margin(most) => write!(f, "margin {} %", 100.0 * most),
        }
    }
}

/// How far a result is from another.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The largest.
    pub absolute: f64,
    /// The largest over the largest magnitude of its part, in the part where that is most.
    pub relative: f64,
    /// That part.
    pub part: String,
    /// The L2 norm of the difference over that of its part, in the part where that is most.
    pub distance: f64,
    /// The share of values that differ by more than is counted.
    pub share: f64,
    /// The largest difference of a part's L2 norm, over the norm.
    pub norm: f64,
    /// Of an attack: the largest difference of an image's margin, over the largest margin.
    pub margin: Option<f64>,
    /// Answers that are others, of `answers`.
    pub other_answers: usize,
    pub answers: usize,
    /// Whether all numbers of both are.
    pub finite: bool,
}

impl Difference {
    /// Of `found` from `expected`, counting the values that differ by more than `beyond`.
    ///
    /// # Errors
    ///
    /// Results of another form.
    pub fn between(expected: &Found, found: &Found, beyond: f64) -> Result<Self, String> {
        let form = |of: &Found| -> Vec<(String, usize)> {
            of.parts.iter().map(|part| (part.name.clone(), part.values.len())).collect()
        };
        let counts = |of: &Found| (of.answers.len(), of.margins.len());
        if form(expected) != form(found) || counts(expected) != counts(found) {
            return Err("a result of another form".to_string());
        }
        let (one, other) = (wide(&expected.margins), wide(&found.margins));
        let answers = expected.answers.iter().zip(&found.answers);
        let mut all = Self {
            absolute: 0.0,
            relative: 0.0,
            part: String::new(),
            distance: 0.0,
            share: 0.0,
            norm: 0.0,
            margin: (!one.is_empty()).then(|| relative(&one, &other)),
            other_answers: answers.filter(|(expected, found)| expected != found).count(),
            answers: expected.answers.len(),
            finite: true,
        };
        let (mut values, mut counted) = (0, 0);
        for (expected, found) in expected.parts.iter().zip(&found.parts) {
            let numbers = [&expected.values, &found.values].map(|values| wide(values));
            let [one, other] = &numbers;
            all.finite &= numbers.iter().flatten().all(|value| value.is_finite());
            let apart: Vec<f64> = one.iter().zip(other).map(|(one, other)| (one - other).abs()).collect();
            let relative = relative(one, other);
            if all.part.is_empty() || relative > all.relative {
                (all.relative, all.part) = (relative, expected.name.clone());
            }
            all.absolute = all.absolute.max(largest(&apart));
            let [expected, found, between] =
                [one, other, &apart].map(|of| of.iter().map(|value| value * value).sum::<f64>().sqrt());
            all.distance = all.distance.max(over(between, expected));
            all.norm = all.norm.max(over((expected - found).abs(), expected));
            counted += apart.iter().filter(|&&apart| apart > beyond).count();
            values += apart.len();
        }
        all.share = over(counted as f64, values as f64);
        Ok(all)
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// The largest difference, over the largest magnitude.
fn relative(one: &[f64], other: &[f64]) -> f64 {
    let apart: Vec<f64> = one.iter().zip(other).map(|(one, other)| one - other).collect();
    over(largest(&apart), largest(one))
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| value.abs().max(most))
}

/// Nothing over nothing is nothing.
fn over(part: f64, whole: f64) -> f64 {
    if part == 0.0 { 0.0 } else { part / whole }
}
