//! How much of the paper's selection of BreakHis is there.

use std::fmt;

use serde::Serialize;

/// Images of the paper's selection: 100X, all benign subtypes and ductal carcinoma.
///
/// Source of the totals: Table 1 of the paper, 515 + 64 + 65 benign and 722 + 90 + 91 malignant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PaperCoverage {
    /// Benign images found, of 644.
    pub benign: usize,
    /// Malignant images found, of 903.
    pub malignant: usize,
}

impl PaperCoverage {
    /// The paper's 644 benign images.
    pub const BENIGN: usize = 644;
    /// The paper's 903 malignant images.
    pub const MALIGNANT: usize = 903;

    /// Whether all of the paper's images are there.
    pub fn is_complete(&self) -> bool {
        (self.benign, self.malignant) == (Self::BENIGN, Self::MALIGNANT)
    }
}

impl fmt::Display for PaperCoverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, total) = (self.benign + self.malignant, Self::BENIGN + Self::MALIGNANT);
        let Self { benign, malignant } = self;
        write!(f, "{found} of the paper's {total} images found: {benign} benign, {malignant} malignant")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_missing() {
        let coverage = PaperCoverage { benign: 155, malignant: 30 };
        assert_eq!(coverage.to_string(), "185 of the paper's 1547 images found: 155 benign, 30 malignant");
        assert!(!coverage.is_complete());
        assert!(PaperCoverage { benign: 644, malignant: 903 }.is_complete());
    }
}
