//! The pixel convention: images in \[0,1\], budgets in the same unit, normalisation inside the model.

use serde::{Deserialize, Serialize};

/// An attack budget on the \[0,1\] scale, made from either unit so that neither is mistaken for the other.
///
/// Any number can be held; attacks refuse a budget that is negative or not finite before they start.
///
/// ```
/// use histoguard::pixels::Epsilon;
///
/// assert_eq!(Epsilon::pixels(8.0), Epsilon::unit(8.0 / 255.0));
/// assert!((Epsilon::unit(0.1).as_pixels() - 25.5).abs() < 1e-12);
/// ```
///
/// A bare number is not a budget:
///
/// ```compile_fail
/// use histoguard::attack::Fgsm;
///
/// let attack = Fgsm::new(8.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epsilon(f64);

impl Epsilon {
    /// No perturbation at all.
    pub const ZERO: Self = Self(0.0);

    /// A budget in 8-bit grey levels: `pixels(8.0)` is 8/255.
    pub const fn pixels(levels: f64) -> Self {
        Self(levels / 255.0)
    }

    /// A budget on the \[0,1\] scale; for L2 and L1, the norm over a whole image on that scale.
    pub const fn unit(value: f64) -> Self {
        Self(value)
    }

    /// The budget on the \[0,1\] scale.
    pub const fn value(self) -> f64 {
        self.0
    }

    /// The budget in 8-bit grey levels.
    pub const fn as_pixels(self) -> f64 {
        self.0 * 255.0
    }

    /// Whether the budget is finite and not negative.
    pub fn is_valid(self) -> bool {
        self.0.is_finite() && self.0 >= 0.0
    }
}

impl std::fmt::Display for Epsilon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/255", (self.as_pixels() * 1e6).round() / 1e6)
    }
}

/// Channel means and standard deviations that a network expects, for images in \[0,1\].
///
/// A grey network takes the first entry; channels past the third take the last one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// Mean of each channel.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, positive.
    pub std: [f64; 3],
}

impl Normalization {
    /// ImageNet's statistics, as torchvision's weights expect.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    /// TorchXRayVision's range \[-1024,1024\]: `(2x - 1) * 1024` (`torchxrayvision.utils.normalize`).
    pub const TORCHXRAYVISION: Self = Self { mean: [0.5; 3], std: [1.0 / 2048.0; 3] };
    /// Pixels as they are.
    pub const NONE: Self = Self { mean: [0.0; 3], std: [1.0; 3] };

    /// Mean and standard deviation of channel `index`.
    pub const fn channel(&self, index: usize) -> (f64, f64) {
        let index = if index < 3 { index } else { 2 };
        (self.mean[index], self.std[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torchxrayvision_range_is_that_of_its_own_formula() {
        let (mean, std) = Normalization::TORCHXRAYVISION.channel(0);
        for (level, expected) in [(0.0, -1024.0), (255.0, 1024.0), (127.5, 0.0)] {
            assert_eq!((level / 255.0 - mean) / std, expected);
        }
    }

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
