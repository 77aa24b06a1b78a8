//! How large perturbations are, and how visible.

use serde::{Deserialize, Serialize};

use crate::pixels::{Distances, round};

/// Mean and median of a quantity over images; `None` where no image has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Middle value, or the mean of the two middle ones.
    pub median: Option<f64>,
}

impl Summary {
    fn of(values: impl Iterator<Item = f32>) -> Self {
        let mut values: Vec<f64> = values.map(f64::from).collect();
        values.sort_by(f64::total_cmp);
        let mean = (!values.is_empty()).then(|| round(values.iter().sum::<f64>() / values.len() as f64));
        Self { mean, median: median(values).map(round) }
    }
}

/// The middle value, or the mean of the two middle ones.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (n > 0).then(|| (values[(n - 1) / 2] + values[n / 2]) / 2.0)
}

/// Perturbations over the attacked images of one budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Perturbation {
    /// Largest change of any value, on the \[0,1\] scale.
    pub linf: Summary,
    /// Euclidean length, on the \[0,1\] scale.
    pub l2: Summary,
    /// Sum of absolute changes, on the \[0,1\] scale.
    pub l1: Summary,
    /// Number of values that changed.
    #[serde(default)]
    pub l0: Summary,
    /// Peak signal-to-noise ratio in decibels, over the images that changed.
    pub psnr: Summary,
    /// Structural similarity.
    pub ssim: Summary,
    /// Attacked images that the attack left as they were.
    pub unchanged: usize,
}

impl Perturbation {
    /// Over these images.
    pub fn over(distances: &[Distances]) -> Self {
        let of = |value: fn(&Distances) -> Option<f32>| Summary::of(distances.iter().filter_map(value));
        Self {
            linf: of(|d| Some(d.linf)),
            l2: of(|d| Some(d.l2)),
            l1: of(|d| Some(d.l1)),
            l0: of(|d| Some(d.l0 as f32)),
            psnr: of(|d| d.psnr),
            ssim: of(|d| d.ssim),
            unchanged: distances.iter().filter(|d| d.linf == 0.0).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_image_has_no_psnr_and_is_counted() {
        let same = Distances::between(&[0.5; 4], &[0.5; 4], [1, 2, 2]);
        let other = Distances::between(&[0.5; 4], &[0.75; 4], [1, 2, 2]);
        let summary = Perturbation::over(&[same, other]);
        assert_eq!((same.psnr, summary.unchanged), (None, 1));
        assert_eq!((summary.linf.mean, summary.linf.median), (Some(0.125), Some(0.125)));
        assert!((summary.psnr.mean.unwrap() - 12.0412).abs() < 1e-4);
        assert_eq!(Perturbation::over(&[]).l2.mean, None);
    }
}
