//! BreakHis's file names: `SOB_<class>_<subtype>-<year>-<slide>-<magnification>-<sequence>.png`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The names that BreakHis uses, for error messages.
pub(crate) const PATTERN: &str = "a name like SOB_M_DC-14-13412-100-001.png \
    (SOB_<B|M>_<A|F|TA|PT|DC|LC|MC|PC>-<year>-<slide>-<40|100|200|400>-<sequence>.png)";

/// Benign or malignant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TumourClass {
    /// `B`, label 0.
    Benign,
    /// `M`, label 1: the positive class.
    Malignant,
}

/// The eight tumour types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subtype {
    /// `A`, benign.
    Adenosis,
    /// `F`, benign.
    Fibroadenoma,
    /// `TA`, benign.
    TubularAdenoma,
    /// `PT`, benign.
    PhyllodesTumour,
    /// `DC`, malignant.
    DuctalCarcinoma,
    /// `LC`, malignant.
    LobularCarcinoma,
    /// `MC`, malignant.
    MucinousCarcinoma,
    /// `PC`, malignant.
    PapillaryCarcinoma,
}

/// The microscope's magnification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Magnification {
    /// 40 times.
    X40,
    /// 100 times: the paper's.
    X100,
    /// 200 times.
    X200,
    /// 400 times.
    X400,
}

/// Everything that a BreakHis file name says.
///
/// ```
/// use histoguard::data::breakhis::{ImageName, Magnification, Subtype};
///
/// let name = ImageName::parse("SOB_B_A-14-22549AB-100-007.png").unwrap();
/// assert_eq!((name.subtype, name.magnification), (Subtype::Adenosis, Magnification::X100));
/// assert_eq!((name.slide().as_str(), name.stem().as_str()), ("14-22549AB", "14-22549"));
/// assert_eq!(name.to_string(), "SOB_B_A-14-22549AB-100-007.png");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageName {
    /// Benign or malignant.
    pub class: TumourClass,
    /// The tumour's type.
    pub subtype: Subtype,
    /// Two-digit year: 14 for all slides but 15-190EF.
    pub year: u8,
    /// The slide's number with its letters, such as `22549AB`.
    pub slide_id: String,
    /// The microscope's magnification.
    pub magnification: Magnification,
    /// Number of the image within its slide and magnification, 0 to 999.
    pub sequence: u16,
}

impl TumourClass {
    /// Both, in the order of their labels.
    pub const ALL: [Self; 2] = [Self::Benign, Self::Malignant];

    /// 0 for benign, 1 for malignant.
    pub fn label(self) -> usize {
        self as usize
    }

    /// `benign` or `malignant`.
    pub fn name(self) -> &'static str {
        ["benign", "malignant"][self as usize]
    }

    /// `B` or `M`.
    pub fn code(self) -> &'static str {
        ["B", "M"][self as usize]
    }
}

impl Subtype {
    /// All eight, the benign ones first.
    pub const ALL: [Self; 8] = [
        Self::Adenosis,
        Self::Fibroadenoma,
        Self::TubularAdenoma,
        Self::PhyllodesTumour,
        Self::DuctalCarcinoma,
        Self::LobularCarcinoma,
        Self::MucinousCarcinoma,
        Self::PapillaryCarcinoma,
    ];

    /// The code in file names: `A`, `F`, `TA`, `PT`, `DC`, `LC`, `MC` or `PC`.
    pub fn code(self) -> &'static str {
        ["A", "F", "TA", "PT", "DC", "LC", "MC", "PC"][self as usize]
    }

    /// The name in words, such as `ductal carcinoma`.
    pub fn name(self) -> &'static str {
        [
            "adenosis",
            "fibroadenoma",
            "tubular adenoma",
            "phyllodes tumor",
            "ductal carcinoma",
            "lobular carcinoma",
            "mucinous carcinoma",
            "papillary carcinoma",
        ][self as usize]
    }

    /// Benign for the first four, malignant for the others.
    pub fn class(self) -> TumourClass {
        if (self as usize) < 4 { TumourClass::Benign } else { TumourClass::Malignant }
    }
}

impl Magnification {
    /// All four, the weakest first.
    pub const ALL: [Self; 4] = [Self::X40, Self::X100, Self::X200, Self::X400];

    /// 40, 100, 200 or 400.
    pub fn times(self) -> u16 {
        [40, 100, 200, 400][self as usize]
    }
}

impl fmt::Display for TumourClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Subtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Magnification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}X", self.times())
    }
}

impl ImageName {
    /// Reads a file name; `None` if it is not one of BreakHis. A subtype of the other class is not one. The
    /// ending may be in upper case, as some copies have it.
    pub fn parse(file_name: &str) -> Option<Self> {
        let (stem, ending) = file_name.strip_prefix("SOB_")?.rsplit_once('.')?;
        let body = ending.eq_ignore_ascii_case("png").then_some(stem)?;
        let (class, body) = body.split_once('_')?;
        let class = TumourClass::ALL.into_iter().find(|c| c.code() == class)?;
        let mut parts = body.split('-');
        let subtype = parts.next()?;
        let subtype = Subtype::ALL.into_iter().find(|s| s.code() == subtype && s.class() == class)?;
        let year = digits(parts.next()?, 2)?;
        let slide_id = parts.next()?;
        let is_slide = |c: char| c.is_ascii_digit() || c.is_ascii_uppercase();
        if slide_id.is_empty() || !slide_id.chars().all(is_slide) {
            return None;
        }
        let times = parts.next()?;
        let magnification = Magnification::ALL.into_iter().find(|m| m.times().to_string() == times)?;
        let sequence = digits(parts.next()?, 3)?;
        if parts.next().is_some() {
            return None;
        }
        let (year, slide_id) = (year as u8, slide_id.to_string());
        Some(Self { class, subtype, year, slide_id, magnification, sequence })
    }

    /// Year and slide, such as `14-22549AB`: one glass slide, one patient in the data set's own count.
    pub fn slide(&self) -> String {
        format!("{:02}-{}", self.year, self.slide_id)
    }

    /// The slide without its closing letters, such as `14-22549`: slides that share it may be one patient's.
    pub fn stem(&self) -> String {
        let number = self.slide_id.trim_end_matches(|c: char| c.is_ascii_uppercase());
        // A slide named by letters alone has no number to share.
        let number = if number.is_empty() { &self.slide_id } else { number };
        format!("{:02}-{number}", self.year)
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, subtype, times) = (self.class.code(), self.subtype.code(), self.magnification.times());
        write!(f, "SOB_{class}_{subtype}-{}-{times}-{:03}.png", self.slide(), self.sequence)
    }
}

/// A number of exactly this many digits.
fn digits(text: &str, count: usize) -> Option<u16> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_field_is_read() {
        let name = ImageName::parse("SOB_M_MC-15-190EF-400-021.png").unwrap();
        let expected = ImageName {
            class: TumourClass::Malignant,
            subtype: Subtype::MucinousCarcinoma,
            year: 15,
            slide_id: "190EF".to_string(),
            magnification: Magnification::X400,
            sequence: 21,
        };
        assert_eq!(name, expected);
        assert_eq!((name.slide().as_str(), name.stem().as_str()), ("15-190EF", "15-190"));
    }

    #[test]
    fn the_ending_may_be_in_upper_case() {
        let name = ImageName::parse("SOB_B_A-14-22549AB-40-001.PNG").unwrap();
        assert_eq!(name.to_string(), "SOB_B_A-14-22549AB-40-001.png");
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "SOB_",
            "SOB_B_A-14-22549AB-100-001.jpg",
            "SOB_B_A_14-22549AB-100-001.png",
            "SOB_B_DC-14-22549AB-100-001.png",
            "SOB_X_A-14-22549AB-100-001.png",
            "SOB_B_A-4-22549AB-100-001.png",
            "SOB_B_A-14--100-001.png",
            "SOB_B_A-14-22549ab-100-001.png",
            "SOB_B_A-14-22549AB-0100-001.png",
            "SOB_B_A-14-22549AB-50-001.png",
            "SOB_B_A-14-22549AB-100-01.png",
            "SOB_B_A-14-22549AB-100-0001.png",
            "SOB_B_A-14-22549AB-100-001-2.png",
            "SOB_B_A-14-22549AB-100-+01.png",
            "SOB_B_A-14-22549AB-100-001 (1).png",
        ] {
            assert_eq!(ImageName::parse(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn names_survive_the_round_trip(
            subtype in 0_usize..8, year in 0_u8..100, slide in "[0-9A-Z]{1,8}",
            magnification in 0_usize..4, sequence in 0_u16..1000,
        ) {
            let subtype = Subtype::ALL[subtype];
            let name = ImageName {
                class: subtype.class(),
                subtype,
                year,
                slide_id: slide,
                magnification: Magnification::ALL[magnification],
                sequence,
            };
            prop_assert_eq!(ImageName::parse(&name.to_string()), Some(name));
        }

        #[test]
        fn no_name_panics(name in "\\PC{0,40}") {
            let _ = ImageName::parse(&name);
            let _ = ImageName::parse(&format!("SOB_B_A-{name}.png"));
        }
    }
}
