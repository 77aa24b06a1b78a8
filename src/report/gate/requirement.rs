//! What somebody asks of a model, in one line of text.

use std::str::FromStr;

use super::error::GateError;
use super::measure::{Measure, Offer};
use crate::evaluate::{EvaluationResult, Verdict};
use crate::pixels::{Budget, Epsilon, Norm};

/// The text that asks for checks without objection.
pub(super) const CHECKS: &str = "checks";
const FORM: &str =
    "`checks`, or like `worst Linf 2/255 >= 0.4`, `lower PGD malignant L2 0.5 >= 0.3`, `clean >= 90 %`";

/// What somebody asks of a model: a least share of right answers, or that no check objects.
///
/// It is written `[lower] subject [class] [norm size] >= share`, or `checks`:
///
/// | part | may be |
/// | --- | --- |
/// | `lower` | holds the lower end of the share's 95 % interval to it instead of the share |
/// | subject | `clean`, `worst` (of all attacks in the norm), or an attack's label |
/// | class | the name of a class, whose images alone count |
/// | norm size | a budget of the evaluation, if not clean or of a semantic attack: `Linf 2/255`, `L2 0.5`, `L1 12`, `L0 30` |
/// | share | a number from 0 to 1, or from 0 % to 100 % |
/// | `checks` | no check of the evaluation is suspicious |
///
/// A share of no images meets nothing.
///
/// ```
/// use histoguard::report::Requirement;
///
/// let requirement: Requirement = "lower worst malignant Linf 2/255 >= 40 %".parse()?;
/// assert_eq!(requirement.to_string(), "lower worst malignant Linf 2/255 >= 40 %");
/// let error = "worst Linf 2 >= 0.4".parse::<Requirement>().unwrap_err();
/// assert_eq!(error.to_string(), "requirement \"worst Linf 2 >= 0.4\": expected a size like 2/255 in Linf, found 2");
/// # Ok::<(), histoguard::report::GateError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    text: String,
    asked: Asked,
}

#[derive(Clone, Debug, PartialEq)]
enum Asked {
    Checks,
    Share { measure: Measure, lower: bool, least: f64 },
}

/// The text as it was given.
impl std::fmt::Display for Requirement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Requirement {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Self, GateError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ");
        if text == CHECKS {
            return Ok(Self { text, asked: Asked::Checks });
        }
        let syntax = |expected, found: &str| GateError::Syntax {
            text: text.clone(),
            expected,
            found: if found.is_empty() { "nothing".into() } else { found.into() },
        };
        let Some((left, right)) = text.split_once(">=") else { return Err(syntax(FORM, &text)) };
        let least = share(right.trim());
        let least = least.ok_or_else(|| syntax("a share from 0 to 1, or from 0 % to 100 %", right.trim()))?;
        let mut words: Vec<&str> = left.split_whitespace().collect();
        let lower = words.first() == Some(&"lower");
        if lower {
            words.remove(0);
        }
        let budget = match words.as_slice() {
            [.., name, size] => match norm(name) {
                Some(norm) => Some(budget(norm, size).ok_or_else(|| syntax(size_in(norm), size))?),
                None => None,
            },
            _ => None,
        };
        words.truncate(words.len() - if budget.is_some() { 2 } else { 0 });
        if words.is_empty() {
            return Err(syntax(FORM, left.trim()));
        }
        let measure = Measure { subject: words.join(" "), budget };
        Ok(Self { asked: Asked::Share { measure, lower, least }, text })
    }
}

impl Requirement {
    /// Refuses what the evaluation does not have.
    pub(super) fn check(&self, offer: &Offer<'_>) -> Result<(), GateError> {
        match &self.asked {
            Asked::Checks => Ok(()),
            Asked::Share { measure, .. } => measure.check(offer, &self.text),
        }
    }

    /// Whether a result meets it, and what was found.
    pub fn judge(&self, result: &EvaluationResult) -> (bool, String) {
        match &self.asked {
            Asked::Checks => {
                let suspicious = result.checks.iter().filter(|check| check.verdict == Verdict::Suspicious);
                let names: Vec<&str> = suspicious.map(|check| check.name.as_str()).collect();
                match (names.as_slice(), result.checks.as_slice()) {
                    (_, []) => (false, "no check was made".into()),
                    ([], checks) => (true, format!("none of {} checks is suspicious", checks.len())),
                    (names, _) => (false, format!("suspicious: {}", names.join(", "))),
                }
            }
            Asked::Share { measure, lower, least } => {
                let Some(share) = measure.of(result) else { return (false, "not measured".into()) };
                let held = if *lower { share.interval.map(|interval| interval.low) } else { share.value };
                (held.is_some_and(|held| held >= *least), share.to_string())
            }
        }
    }
}

fn share(text: &str) -> Option<f64> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let share = match text.strip_suffix('%') {
        Some(percent) => number(percent)? / 100.0,
        None => number(text)?,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

fn norm(name: &str) -> Option<Norm> {
    let all = [Norm::Linf, Norm::L2, Norm::L1, Norm::L0];
    all.into_iter().find(|norm| norm.to_string().eq_ignore_ascii_case(name))
}

/// As budgets are shown: grey levels for L-infinity, where a bare number would be taken for one.
fn budget(norm: Norm, size: &str) -> Option<Budget> {
    let (text, of_255) = match size.strip_suffix("/255") {
        Some(levels) => (levels, true),
        None => (size, false),
    };
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)?;
    let budget = match norm {
        Norm::Linf => Budget::pixels(number),
        norm => Budget::new(norm, Epsilon::unit(number)),
    };
    (of_255 == (norm == Norm::Linf)).then_some(budget.rounded())
}

fn size_in(norm: Norm) -> &'static str {
    match norm {
        Norm::Linf => "a size like 2/255 in Linf",
        Norm::L2 | Norm::L1 => "a size like 0.5 over the image in [0,1]",
        Norm::L0 => "a number of values like 30 in L0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Option<Budget>, bool, f64) {
        match text.parse::<Requirement>().unwrap().asked {
            Asked::Share { measure, lower, least } => (measure.subject, measure.budget, lower, least),
            Asked::Checks => panic!("{text}"),
        }
    }

    #[test]
    fn every_form_is_read() {
        let linf = Some(Budget::pixels(2.0));
        for (text, read) in [
            ("clean >= 0.9", ("clean", None, false, 0.9)),
            ("  clean   malignant>=90%", ("clean malignant", None, false, 0.9)),
            ("worst Linf 2/255 >= 0.4", ("worst", linf, false, 0.4)),
            ("lower worst linf 2/255 >= 1", ("worst", linf, true, 1.0)),
            ("APGD-CE (2) L2 0.5 >= 0", ("APGD-CE (2)", Some(Budget::l2(0.5)), false, 0.0)),
            ("Pixle L0 30 >= 12.5 %", ("Pixle", Some(Budget::l0(30)), false, 0.125)),
        ] {
            let (subject, budget, lower, least) = read;
            assert_eq!(parsed(text), (subject.to_string(), budget, lower, least), "{text}");
        }
        assert_eq!("checks".parse::<Requirement>().unwrap().asked, Asked::Checks);
    }

    #[test]
    fn what_is_no_requirement_is_refused_with_what_would_be() {
        for (text, named) in [
            ("", "`checks`"),
            ("clean", "found clean"),
            ("clean > 0.5", "worst Linf 2/255 >= 0.4"),
            (">= 0.5", "found nothing"),
            ("lower >= 0.5", "found lower"),
            ("Linf 2/255 >= 0.5", "found Linf 2/255"),
            ("clean >= 1.5", "found 1.5"),
            ("clean >= NaN", "found NaN"),
            ("clean >= -0.1", "from 0 to 1"),
            ("clean >= 40", "found 40"),
            ("clean >= 101 %", "found 101 %"),
            ("clean >= ", "found nothing"),
            ("worst Linf 2 >= 0.5", "a size like 2/255"),
            ("worst Linf x/255 >= 0.5", "found x/255"),
            ("worst Linf -1/255 >= 0.5", "found -1/255"),
            ("worst Linf NaN/255 >= 0.5", "found NaN/255"),
            ("worst L2 2/255 >= 0.5", "over the image"),
        ] {
            let error = text.parse::<Requirement>().unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
