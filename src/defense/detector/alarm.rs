//! Detectors with their thresholds.

use std::sync::Arc;

use burn::config::Config;
use burn::tensor::{Device, Tensor};
use serde::{Serialize, Serializer};

use super::base::Detector;
use super::error::DetectorError;
use super::scores::scores;
use super::threshold::{Threshold, rate_parameter};
use crate::data::LabeledImages;
use crate::parameter::{self, Parameter};
use crate::rows::values;

/// A detector with the threshold above which it gives alarm.
#[derive(Clone, Debug, Serialize)]
pub struct Alarm {
    /// What scores an image.
    #[serde(serialize_with = "shared")]
    pub detector: Arc<dyn Detector>,
    /// Above which score it gives alarm.
    pub threshold: Threshold,
}

impl Alarm {
    /// The scores of images `[batch, channels, height, width]`, one each.
    pub fn scores(&self, images: Tensor<4>) -> Vec<f64> {
        values(self.detector.score(images.inner())).into_iter().map(f64::from).collect()
    }

    /// Whether each image gives alarm.
    pub fn fires(&self, images: Tensor<4>) -> Vec<bool> {
        self.scores(images).into_iter().map(|score| self.threshold.is_exceeded(score)).collect()
    }
}

fn shared<S: Serializer>(detector: &Arc<dyn Detector>, to: S) -> Result<S::Ok, S::Error> {
    (**detector).serialize(to)
}

/// How thresholds are set, from clean images that did not fit the detector.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | rate: of clean images, for each detector | required | a number above 0 and below 1 |
/// | batch size | 32 | at least 1; thresholds do not depend on it |
///
/// Slides are the images' [groups](LabeledImages::group); [`Threshold`] says how they count. Several
/// detectors together give alarm up to as often as the sum of their rates.
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// The share of clean images that may give alarm.
    pub rate: f64,
    /// Images scored at a time.
    #[config(default = 32)]
    pub batch_size: usize,
}

impl Calibration {
    /// The detector with its threshold from these clean images, scored on this device.
    ///
    /// # Errors
    ///
    /// [`DetectorError`] on a parameter out of its range, before any image is scored; on too few slides, an
    /// image that cannot be read, or a score that is NaN or infinite.
    pub fn alarm(
        &self,
        detector: Arc<dyn Detector>,
        clean: &dyn LabeledImages,
        device: &Device,
    ) -> Result<Alarm, DetectorError> {
        parameter::check([rate_parameter(self.rate), Parameter::at_least("batch size", self.batch_size, 1)])?;
        let groups: Vec<String> = (0..clean.len()).map(|position| clean.group(position)).collect();
        // Whether there are slides enough is known before anything is scored.
        let blank: Vec<(String, f64)> = groups.iter().cloned().map(|group| (group, 0.0)).collect();
        Threshold::new(&blank, self.rate)?;
        let scores = scores(&*detector, clean, self.batch_size, device)?;
        let scored: Vec<(String, f64)> = groups.into_iter().zip(scores).collect();
        Ok(Alarm { detector, threshold: Threshold::new(&scored, self.rate)? })
    }
}
