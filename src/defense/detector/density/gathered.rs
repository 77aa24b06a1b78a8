//! The features of a set of images, class by class.

use crate::classifier::FrozenFeatures;
use crate::data::LabeledImages;
use crate::defense::detector::error::DetectorError;
use crate::rows::values;

/// Images embedded at a time; features do not depend on it.
const BATCH: usize = 32;

/// The features of a training set.
pub(super) struct Gathered {
    /// One row an image.
    pub(super) rows: Vec<Vec<f32>>,
    /// The class of each.
    pub(super) labels: Vec<usize>,
    pub(super) classes: usize,
    pub(super) dimension: usize,
}

impl Gathered {
    pub(super) fn new(
        detector: &'static str,
        network: &FrozenFeatures,
        training: &dyn LabeledImages,
    ) -> Result<Self, DetectorError> {
        let fit = |expected: String, found: String| DetectorError::Fit { detector, expected, found };
        let classes = training.classes();
        if classes.len() != network.num_classes() {
            let expected =
                format!("training images of {} classes, as the network has", network.num_classes());
            return Err(fit(expected, format!("{} classes", classes.len())));
        }
        let labels: Vec<usize> = (0..training.len()).map(|position| training.label(position)).collect();
        if let Some(empty) = (0..classes.len()).find(|class| !labels.contains(class)) {
            let expected = format!("at least one training image of class {}", classes[empty]);
            return Err(fit(expected, "none".into()));
        }
        let positions: Vec<usize> = (0..training.len()).collect();
        let (mut rows, mut dimension) = (Vec::with_capacity(positions.len()), 0);
        for chunk in positions.chunks(BATCH) {
            let features = network.features(training.batch(chunk, network.device())?.images);
            dimension = features.dims()[1];
            rows.extend(values(features).chunks(dimension.max(1)).map(<[f32]>::to_vec));
        }
        if dimension == 0 {
            return Err(fit("at least one feature".into(), "none".into()));
        }
        if let Some(bad) = rows.iter().position(|row| row.iter().any(|value| !value.is_finite())) {
            let found = format!("NaN or infinity in those of {}", training.name(bad));
            return Err(fit("finite features".into(), found));
        }
        Ok(Self { rows, labels, classes: classes.len(), dimension })
    }

    /// The rows of a class.
    pub(super) fn of(&self, class: usize) -> impl Iterator<Item = &[f32]> {
        let own = self.rows.iter().zip(&self.labels).filter(move |(_, label)| **label == class);
        own.map(|(row, _)| row.as_slice())
    }

    /// The mean features of a class.
    pub(super) fn mean(&self, class: usize) -> Vec<f64> {
        let mut mean = vec![0.0; self.dimension];
        let mut count = 0.0;
        for row in self.of(class) {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
            count += 1.0;
        }
        mean.iter_mut().for_each(|sum| *sum /= count);
        mean
    }
}
