//! Fewer grey levels.

use burn::config::Config;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Backward, ImageDraws, Preprocess};
use crate::parameter::Parameter;
use crate::rows::each;

/// Which of the remaining grey levels a value gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Levels {
    /// The nearest, `round(x (2^b - 1)) / (2^b - 1)` with halves to even: Xu, Evans & Qi, "Feature
    /// Squeezing", NDSS 2018, and ART's `FeatureSqueezing`.
    Nearest,
    /// The value cut to 8 bits without rounding, and its low `8 - b` bits cleared, which darkens: Guo, Rana,
    /// Cissé & van der Maaten, "Countering Adversarial Images using Input Transformations", ICLR 2018, as the
    /// repository obfuscated-gradients has it, with b = 3.
    Truncated,
}

/// Fewer bits a value, each channel by itself; images of any number of channels.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | bits | required | from 1 to 8 |
/// | levels | nearest | nearest or truncated |
///
/// The gradient is zero wherever there is one; the backward pass is that of the identity. Values are computed
/// on the host in double precision, so that they are the same on every device.
///
/// ```
/// use histoguard::defense::{BitDepth, ImageDraws, Preprocess};
/// use histoguard::prelude::*;
///
/// let image = Tensor::full([1, 3, 2, 2], 0.4, &Device::default());
/// let black_and_white = BitDepth::new(1).apply(image, &ImageDraws::default());
/// assert_eq!(black_and_white.max().into_scalar::<f32>(), 0.0);
/// ```
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub struct BitDepth {
    /// Bits that are left of a value.
    pub bits: usize,
    /// Which of the remaining levels a value gets.
    #[config(default = "Levels::Nearest")]
    pub levels: Levels,
}

impl BitDepth {
    fn level(self, value: f32) -> f32 {
        match self.levels {
            Levels::Nearest => {
                let highest = f64::from((1u32 << self.bits) - 1);
                ((f64::from(value) * highest).round_ties_even() / highest) as f32
            }
            Levels::Truncated => {
                let cleared = 8 - self.bits;
                f32::from((value * 255.0) as u8 >> cleared << cleared) / 255.0
            }
        }
    }
}

impl Preprocess for BitDepth {
    fn name(&self) -> String {
        "Bit depth".into()
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter::new("bits", "from 1 to 8", (1..=8).contains(&self.bits), self.bits)]
    }

    fn is_random(&self) -> bool {
        false
    }

    fn apply(&self, images: Tensor<4>, _: &ImageDraws) -> Tensor<4> {
        each(&images, |_, image| image.iter().map(|&value| self.level(value)).collect())
    }

    fn backward(&self) -> Backward {
        Backward::Identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_level() {
        // 0.5 * 1 and 1.5 / 3 * 3.
        assert_eq!(BitDepth::new(1).level(0.5), 0.0);
        assert_eq!(BitDepth::new(2).level(0.5), 2.0 / 3.0);
    }

    /// By hand: 0b1101_0110 keeps its high three bits.
    #[test]
    fn truncation_clears_the_low_bits() {
        let three = BitDepth::new(3).with_levels(Levels::Truncated);
        assert_eq!(three.level(214.0 / 255.0), 192.0 / 255.0);
        assert_eq!(three.level(1.0), 224.0 / 255.0);
        let eight = BitDepth::new(8).with_levels(Levels::Truncated);
        for level in 0..=255u8 {
            assert_eq!(eight.level(f32::from(level) / 255.0), f32::from(level) / 255.0);
        }
        assert_eq!(eight.level(0.999), 254.0 / 255.0, "cut, not rounded");
    }
}
