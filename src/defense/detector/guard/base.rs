//! A classifier with alarms.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::answer::Answer;
use super::attacked::attacked;
use super::report::{GuardReport, Tested};
use crate::attack::Attack;
use crate::classifier::{Frozen, predictions};
use crate::data::LabeledImages;
use crate::defense::detector::alarm::{Alarm, Calibration};
use crate::defense::detector::base::Detector;
use crate::defense::detector::error::DetectorError;
use crate::parameter::Parameter;
use crate::rows::values;

/// A classifier that rejects an image where one of its alarms fires.
///
/// | parameter | range |
/// | --- | --- |
/// | alarms | at least 1 |
///
/// With k detectors each at a false-alarm rate r, up to k r of clean images are rejected: ask each for a
/// part of the rate that the whole may have, and look at the [report](Self::report) for the rate that it has.
#[derive(Debug)]
pub struct Guard {
    classifier: Frozen,
    alarms: Vec<Alarm>,
}

impl Guard {
    /// This classifier, bare or [reformed](crate::defense::detector::reformed), with these alarms.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Parameter`] if there is no alarm.
    pub fn new(classifier: Frozen, alarms: Vec<Alarm>) -> Result<Self, DetectorError> {
        Parameter::at_least("alarms", alarms.len(), 1).check()?;
        Ok(Self { classifier, alarms })
    }

    /// The same with detectors whose thresholds come from these clean images, which must not be among those
    /// that fitted them or the classifier.
    ///
    /// # Errors
    ///
    /// As [`Calibration::alarm`], and if there is no detector.
    pub fn calibrated(
        classifier: Frozen,
        detectors: Vec<Arc<dyn Detector>>,
        calibration: &Calibration,
        validation: &dyn LabeledImages,
    ) -> Result<Self, DetectorError> {
        Parameter::at_least("alarms", detectors.len(), 1).check()?;
        let alarm = |detector| calibration.alarm(detector, validation, classifier.device());
        let alarms = detectors.into_iter().map(alarm).collect::<Result<_, _>>()?;
        Ok(Self { classifier, alarms })
    }

    /// The classifier, which answers without its detectors.
    pub fn classifier(&self) -> &Frozen {
        &self.classifier
    }

    /// The alarms: copies share the detectors.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.alarms.clone()
    }

    /// The class of each image, or a rejection.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`, values in \[0,1\]
    /// - output: one answer an image
    pub fn answers(&self, images: Tensor<4>) -> Vec<Answer> {
        let logits = self.classifier.logits(images.clone());
        let width = logits.dims()[1].max(1);
        let numbers = values(logits.clone());
        let bad = numbers.chunks(width).map(|row| row.iter().any(|logit| logit.is_nan()));
        let classes = predictions(logits).into_iter().zip(bad);
        let mut answers: Vec<Answer> = classes
            .map(|(class, bad)| Answer { class: (!bad).then_some(class), scores: vec![], alarms: vec![] })
            .collect();
        for alarm in &self.alarms {
            for (answer, score) in answers.iter_mut().zip(alarm.scores(images.clone())) {
                answer.scores.push(score);
                answer.alarms.push(alarm.threshold.is_exceeded(score));
            }
        }
        answers
    }

    /// How it fares on these test images, clean and under each attack, so many images at a time.
    ///
    /// An attack gets the images that the bare classifier has right, whether they are accepted or not, away
    /// from their class; the others stay as they are, as attacks leave them everywhere in this crate. Put an
    /// attack that knows the detectors beside one that does not:
    /// [`Adaptive`](crate::defense::detector::Adaptive).
    ///
    /// # Errors
    ///
    /// [`DetectorError`] if `batch_size` is zero, the images are of another number of classes, an image
    /// cannot be read, an attack refuses, or it returns
    /// what is not finite or not within its budget and \[0,1\].
    pub fn report(
        &self,
        test: &dyn LabeledImages,
        attacks: &[&dyn Attack],
        batch_size: usize,
    ) -> Result<GuardReport, DetectorError> {
        Parameter::at_least("batch size", batch_size, 1).check()?;
        let (classes, found) = (self.classifier.num_classes(), test.classes().len());
        Parameter::new(
            "test images",
            format!("of the classifier's {classes} classes"),
            classes == found,
            found,
        )
        .check()?;
        let positions: Vec<usize> = (0..test.len()).collect();
        let mut tested: Vec<Tested> = Vec::with_capacity(test.len());
        for chunk in positions.chunks(batch_size) {
            let batch = test.batch(chunk, self.classifier.device())?;
            let labels: Vec<usize> = chunk.iter().map(|&position| test.label(position)).collect();
            let clean = self.answers(batch.images.clone());
            let right: Vec<usize> =
                (0..labels.len()).filter(|&row| clean[row].class == Some(labels[row])).collect();
            let under = attacks.iter().map(|attack| {
                let images = attacked(*attack, &self.classifier, &batch, &labels, &right)?;
                Ok(self.answers(images))
            });
            let under: Vec<Vec<Answer>> = under.collect::<Result<_, DetectorError>>()?;
            for (row, (label, clean)) in labels.into_iter().zip(clean).enumerate() {
                let attacked = under.iter().map(|answers| answers[row].clone()).collect();
                tested.push(Tested { label, clean, attacked });
            }
        }
        Ok(GuardReport::new(&self.alarms, test.classes(), attacks, &tested))
    }
}
