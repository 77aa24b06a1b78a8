//! What a network expects of its pixels.

use serde::{Deserialize, Serialize};

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
}
