//! Thresholds at a stated false-alarm rate.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::DetectorError;
use crate::parameter::Parameter;

/// Slack for sums of weights that are exact in decimals but not in binary.
const ROUNDING: f64 = 1e-9;

/// The score above which a detector gives alarm, from clean images at a stated false-alarm rate.
///
/// Images of a slide are alike, so that 500 images of 20 slides say little more than 20 do. Every slide
/// counts the same here, whatever its number of images: an image of one of K slides weighs 1/(K+1) divided by
/// the images of its slide, a slide not seen yet weighs the last 1/(K+1) at infinity, and the threshold is
/// the smallest score with a weight of at least 1 - rate at or below it (hierarchical conformal prediction:
/// Lee, Barber & Willett, "Distribution-free inference with hierarchical data", arXiv:2306.06342). With one
/// image a slide that is the split-conformal quantile, the ceil((n+1)(1-rate))-th smallest of n scores.
///
/// What it promises, whatever the detector: an image drawn from a new slide gives alarm with a probability of
/// at most `rate`, over new slides and calibration slides that are exchangeable. The images must not be among
/// those that fitted the detector; the one slide at hand may do better or worse, and so may one class.
///
/// ```
/// use histoguard::defense::detector::Threshold;
///
/// let scores: Vec<(String, f64)> = (1..=19).map(|i| (format!("slide {i}"), f64::from(i))).collect();
/// // The 19th smallest: ceil(20 * 0.95).
/// assert_eq!(Threshold::new(&scores, 0.05)?.value, 19.0);
/// let error = Threshold::new(&scores[..18], 0.05).unwrap_err();
/// assert!(error.to_string().contains("expected at least 19 slides of clean images, found 18"));
/// # Ok::<(), histoguard::defense::detector::DetectorError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// Scores above it give alarm.
    pub value: f64,
    /// The false-alarm rate asked for.
    pub rate: f64,
    /// The median clean score, each slide weighing the same.
    pub median: f64,
    /// Number of clean images.
    pub images: usize,
    /// Number of their slides.
    pub slides: usize,
}

impl Threshold {
    /// From clean images, each with its slide and its score.
    ///
    /// | parameter | range |
    /// | --- | --- |
    /// | rate | a number above 0 and below 1 |
    ///
    /// # Errors
    ///
    /// [`DetectorError::Parameter`] on a rate out of its range, [`DetectorError::TooFewSlides`] if there are
    /// fewer than `1/rate - 1` slides, which no threshold but infinity would serve, and
    /// [`DetectorError::Score`] on a score that is NaN or infinite.
    pub fn new(scores: &[(String, f64)], rate: f64) -> Result<Self, DetectorError> {
        rate_parameter(rate).check()?;
        if let Some((slide, score)) = scores.iter().find(|(_, score)| !score.is_finite()) {
            let (detector, image) = ("calibration".into(), format!("an image of slide {slide}"));
            return Err(DetectorError::Score { detector, image, found: *score });
        }
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        scores.iter().for_each(|(slide, _)| *sizes.entry(slide).or_default() += 1);
        let (slides, images) = (sizes.len(), scores.len());
        let needed = (1.0 / rate - 1.0 - ROUNDING).ceil() as usize;
        if slides < needed.max(1) {
            return Err(DetectorError::TooFewSlides { rate, needed: needed.max(1), slides, images });
        }
        let mut sorted: Vec<(f64, f64)> =
            scores.iter().map(|(slide, score)| (*score, 1.0 / sizes[slide.as_str()] as f64)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let value = quantile(&sorted, (slides as f64 + 1.0) * (1.0 - rate));
        let median = quantile(&sorted, slides as f64 / 2.0);
        Ok(Self { value, rate, median, images, slides })
    }

    /// Whether a score gives alarm: one above the threshold, or NaN.
    pub fn is_exceeded(&self, score: f64) -> bool {
        score.is_nan() || score > self.value
    }

    /// The threshold moved towards the median by this share of its distance.
    pub fn tightened(&self, share: f64) -> f64 {
        self.value - share * (self.value - self.median)
    }

    /// What a score is measured in: the distance from the median to the threshold; where there is none, as
    /// with many equal scores, the threshold's size, or 1.
    pub fn scale(&self) -> f64 {
        let spread = self.value - self.median;
        [spread, self.value.abs()].into_iter().find(|&size| size > f64::MIN_POSITIVE).unwrap_or(1.0)
    }
}

/// The smallest score with at least this weight at or below it, of some that have it together.
fn quantile(sorted: &[(f64, f64)], weight: f64) -> f64 {
    let mut below = 0.0;
    let reaches = |(_, own): &&(f64, f64)| {
        below += own;
        below >= weight - ROUNDING
    };
    sorted.iter().find(reaches).or(sorted.last()).expect("one score at least").0
}

/// A false-alarm rate beside its range.
pub(super) fn rate_parameter(rate: f64) -> Parameter {
    Parameter::new("rate", "a number above 0 and below 1", rate > 0.0 && rate < 1.0, rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn alone(scores: &[f64]) -> Vec<(String, f64)> {
        scores.iter().enumerate().map(|(i, &score)| (i.to_string(), score)).collect()
    }

    proptest! {
        /// The closed form for one image a slide, in integers: ceil((n+1)(1-rate)) with the rate in
        /// thousandths.
        #[test]
        fn single_images_have_the_conformal_quantile(
            n in 1usize..300,
            thousandths in 1usize..1000,
            turn in 0usize..300,
        ) {
            let scores: Vec<f64> = (0..n).map(|i| ((i * 7919 + turn) % n.max(1)) as f64).collect();
            let mut sorted = scores.clone();
            sorted.sort_by(f64::total_cmp);
            let place = ((n + 1) * (1000 - thousandths)).div_ceil(1000);
            let found = Threshold::new(&alone(&scores), thousandths as f64 / 1000.0);
            if place > n {
                let needed = 1000usize.div_ceil(thousandths) - 1;
                let Err(DetectorError::TooFewSlides { needed: said, .. }) = found else {
                    return Err(TestCaseError::fail(format!("{found:?}")));
                };
                prop_assert_eq!(said, needed);
            } else {
                prop_assert_eq!(found.unwrap().value, sorted[place - 1]);
            }
        }
    }

    #[test]
    fn slides_weigh_the_same() {
        // Slide a has 9 images at 0..8, b and c have one each at 100 and 200: each slide weighs 1/4.
        let mut scores: Vec<(String, f64)> = (0..9).map(|i| ("a".into(), f64::from(i))).collect();
        scores.extend([("b".into(), 100.0), ("c".into(), 200.0)]);
        let at = |rate| Threshold::new(&scores, rate).unwrap();
        assert_eq!(at(0.25).value, 200.0);
        assert_eq!(at(0.5).value, 100.0);
        // 3/4 - 0.3 = 0.45 needs b; 1 - 0.75 = 1/4 is all of a; 1 - 8/9 = 1/9 is 4 of its 9 images at 1/36
        // each.
        assert_eq!((at(0.55).value, at(0.75).value, at(8.0 / 9.0).value), (100.0, 8.0, 3.0));
        assert_eq!((at(0.25).median, at(0.25).images, at(0.25).slides), (100.0, 11, 3));
        let refused = Threshold::new(&scores, 0.2);
        assert!(matches!(refused, Err(DetectorError::TooFewSlides { needed: 4, slides: 3, images: 11, .. })));
    }

    #[test]
    fn few_images_are_refused_instead_of_rejecting_everything() {
        // n * rate < 1: MagNet's marks[-int(n * rate)] would be marks[0], the smallest.
        let error = Threshold::new(&alone(&[1.0, 2.0, 3.0]), 0.01).unwrap_err();
        let text = "calibration at a false-alarm rate of 0.01: expected at least 99 slides of clean images, \
                    found 3 (3 images); take more slides or a rate of at least 0.25";
        assert_eq!(error.to_string(), text);
        let none = Threshold::new(&[], 0.9);
        assert!(matches!(none, Err(DetectorError::TooFewSlides { needed: 1, slides: 0, .. })));
    }

    #[test]
    fn refuses_rates_and_scores_out_of_range() {
        for rate in [0.0, 1.0, -0.1, f64::NAN] {
            let error = Threshold::new(&alone(&[1.0; 9]), rate).unwrap_err();
            assert!(error.to_string().starts_with("rate: expected a number above 0 and below 1"), "{error}");
        }
        let error = Threshold::new(&alone(&[1.0, f64::NAN]), 0.5).unwrap_err();
        assert!(matches!(error, DetectorError::Score { .. }));
    }

    #[test]
    fn tightens_towards_the_median_and_nan_is_alarming() {
        let threshold = Threshold::new(&alone(&[-3.0, -2.0, 5.0]), 0.25).unwrap();
        assert_eq!((threshold.value, threshold.median), (5.0, -2.0));
        assert_eq!((threshold.tightened(0.5), threshold.scale()), (1.5, 7.0));
        assert!(!threshold.is_exceeded(5.0) && threshold.is_exceeded(5.1) && threshold.is_exceeded(f64::NAN));
        assert_eq!(Threshold::new(&alone(&[-2.0; 4]), 0.5).unwrap().scale(), 2.0);
        assert_eq!(Threshold::new(&alone(&[0.0; 4]), 0.5).unwrap().scale(), 1.0);
    }
}
