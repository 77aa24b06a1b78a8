//! Sizes in grey levels or on the \[0,1\] scale.

use serde::{Deserialize, Serialize};

/// A size on the \[0,1\] scale, made from either unit so that neither is mistaken for the other. With its norm it is a
/// [`Budget`](super::Budget).
///
/// Any number can be held; attacks refuse one that is negative or not finite before they start.
///
/// ```
/// use histoguard::pixels::Epsilon;
///
/// assert_eq!(Epsilon::pixels(8.0), Epsilon::unit(8.0 / 255.0));
/// assert!((Epsilon::unit(0.1).as_pixels() - 25.5).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epsilon(f64);

impl Epsilon {
    /// Nothing.
    pub const ZERO: Self = Self(0.0);

    /// So many 8-bit grey levels: `pixels(8.0)` is 8/255.
    pub const fn pixels(levels: f64) -> Self {
        Self(levels / 255.0)
    }

    /// A size on the \[0,1\] scale; in L2 and L1, the norm over a whole image on that scale.
    pub const fn unit(value: f64) -> Self {
        Self(value)
    }

    /// On the \[0,1\] scale.
    pub const fn value(self) -> f64 {
        self.0
    }

    /// In 8-bit grey levels.
    pub const fn as_pixels(self) -> f64 {
        self.0 * 255.0
    }

    /// Whether it is finite and not negative.
    pub fn is_valid(self) -> bool {
        self.0.is_finite() && self.0 >= 0.0
    }
}

impl std::fmt::Display for Epsilon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/255", (self.as_pixels() * 1e6).round() / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_ends_where_documented() {
        assert!(Epsilon::ZERO.is_valid() && Epsilon::pixels(255.0).is_valid());
        for bad in [-1e-300, f64::NAN, f64::INFINITY] {
            assert!(!Epsilon::unit(bad).is_valid(), "{bad}");
        }
    }

    #[test]
    fn shown_in_grey_levels() {
        assert_eq!(Epsilon::pixels(0.5).to_string(), "0.5/255");
        assert_eq!(Epsilon::pixels(8.0).to_string(), "8/255");
    }
}
