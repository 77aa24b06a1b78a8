//! How far one image is from another.

use serde::{Deserialize, Serialize};

use super::norm::Norm;
use super::similarity::{psnr, ssim};

/// How far an adversarial image is from its original, on the \[0,1\] scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distances {
    /// Largest change of any value.
    pub linf: f32,
    /// Euclidean length of the change.
    pub l2: f32,
    /// Sum of absolute changes.
    pub l1: f32,
    /// Number of values that changed; a pixel's channels count singly.
    #[serde(default)]
    pub l0: u32,
    /// Peak signal-to-noise ratio in decibels; `None` if nothing changed, which makes it infinite.
    pub psnr: Option<f32>,
    /// Structural similarity; `None` for images under 11x11 pixels.
    pub ssim: Option<f32>,
}

impl Distances {
    /// Between two images of `[channels, height, width]`, row by row.
    ///
    /// # Panics
    ///
    /// Panics if the lengths are not `channels * height * width` or zero.
    pub fn between(original: &[f32], adversarial: &[f32], shape: [usize; 3]) -> Self {
        let changes = || original.iter().zip(adversarial).map(|(&a, &b)| (f64::from(b) - f64::from(a)).abs());
        Self {
            linf: changes().fold(0.0, f64::max) as f32,
            l2: changes().map(|d| d * d).sum::<f64>().sqrt() as f32,
            l1: changes().sum::<f64>() as f32,
            l0: changes().filter(|&d| d != 0.0).count() as u32,
            psnr: Some(psnr(original, adversarial) as f32).filter(|p| p.is_finite()),
            ssim: ssim(original, adversarial, shape).map(|s| s as f32).filter(|s| s.is_finite()),
        }
    }

    /// The length of the change in this norm.
    pub fn in_norm(&self, norm: Norm) -> f64 {
        match norm {
            Norm::Linf => f64::from(self.linf),
            Norm::L2 => f64::from(self.l2),
            Norm::L1 => f64::from(self.l1),
            Norm::L0 => f64::from(self.l0),
        }
    }

    /// Those of an image of the same size that did not change.
    pub(crate) fn unchanged(&self) -> Self {
        Self { linf: 0.0, l2: 0.0, l1: 0.0, l0: 0, psnr: None, ssim: self.ssim.map(|_| 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_and_psnr_by_hand() {
        let distances = Distances::between(&[0.5, 0.5, 0.25, 0.0], &[0.5, 0.0, 0.5, 0.25], [1, 2, 2]);
        // Squares 0.25 + 0.0625 + 0.0625 = 0.375; PSNR = -10 log10(0.375 / 4).
        assert_eq!((distances.linf, distances.l1, distances.l0, distances.ssim), (0.5, 1.0, 3, None));
        assert!((f64::from(distances.l2) - 0.375f64.sqrt()).abs() < 1e-7);
        assert!((f64::from(distances.psnr.unwrap()) - 10.280287).abs() < 1e-5);
    }

    #[test]
    fn records_from_before_values_were_counted_can_be_read() {
        let text = r#"{"linf":0.5,"l2":0.625,"l1":1.0,"psnr":10.5,"ssim":null}"#;
        let distances: Distances = serde_json::from_str(text).unwrap();
        assert_eq!((distances.l0, distances.in_norm(Norm::L2)), (0, 0.625));
    }
}
