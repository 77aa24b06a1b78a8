//! The scores of a set of images.

use burn::tensor::Device;

use super::base::Detector;
use super::error::DetectorError;
use crate::data::LabeledImages;
use crate::parameter::Parameter;
use crate::rows::values;

/// The score of every image, in order.
///
/// # Errors
///
/// [`DetectorError::Parameter`] if `batch_size` is zero, [`DetectorError::Data`] if an image cannot be read,
/// and [`DetectorError::Score`] naming the first image whose score is NaN or infinite.
pub fn scores(
    detector: &dyn Detector,
    images: &dyn LabeledImages,
    batch_size: usize,
    device: &Device,
) -> Result<Vec<f64>, DetectorError> {
    Parameter::at_least("batch size", batch_size, 1).check()?;
    let positions: Vec<usize> = (0..images.len()).collect();
    let mut found = Vec::with_capacity(images.len());
    for chunk in positions.chunks(batch_size) {
        let batch = images.batch(chunk, device)?;
        for (&position, score) in chunk.iter().zip(values(detector.score(batch.images))) {
            let score = f64::from(score);
            if !score.is_finite() {
                let (detector, image) = (detector.name(), images.name(position));
                return Err(DetectorError::Score { detector, image, found: score });
            }
            found.push(score);
        }
    }
    Ok(found)
}
