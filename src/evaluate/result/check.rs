//! One check and its verdict.

use serde::{Deserialize, Serialize};

/// What a check concludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing to object to.
    Passed,
    /// The evaluation overstates robustness, or may.
    Suspicious,
    /// The evaluation lacks what the check needs; the text says what.
    NotApplicable,
}

/// One reason to believe an evaluation or not: what was looked at, what was seen, and why it matters.
///
/// The checks are those of the AutoAttack reference (`autoattack/checks.py`), of Carlini et al., "On evaluating
/// adversarial robustness", 2019, the indicators of attack failure (Pintor et al., NeurIPS 2022) and the binarization
/// test (Zimmermann et al., NeurIPS 2022). A suspicious check is a reason to attack harder, not a proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it looks for, such as `vanishing gradients`.
    pub name: String,
    /// What it concludes.
    pub verdict: Verdict,
    /// What it saw, in one sentence.
    pub seen: String,
    /// Why that matters.
    pub matters: String,
    /// Who says so.
    pub source: String,
}

/// What a check looks for, why, and who says so.
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) matters: &'static str,
    pub(crate) source: &'static str,
}

impl About {
    pub(crate) fn check(&self, suspicious: bool, seen: String) -> Check {
        self.verdict(if suspicious { Verdict::Suspicious } else { Verdict::Passed }, seen)
    }

    /// `missing` says what the check would need.
    pub(crate) fn not_applicable(&self, missing: &str) -> Check {
        self.verdict(Verdict::NotApplicable, missing.into())
    }

    fn verdict(&self, verdict: Verdict, seen: String) -> Check {
        Check {
            name: self.name.into(),
            verdict,
            seen,
            matters: self.matters.into(),
            source: self.source.into(),
        }
    }
}
