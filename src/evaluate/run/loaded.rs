//! A batch of the data set, read when it is first needed, and the images of it that are attacked.

use burn::tensor::{Device, Tensor};

use super::crafting::Targets;
use crate::attack::Goal;
use crate::classifier::{Frozen, FrozenFeatures};
use crate::data::{Batch, LabeledImages};
use crate::evaluate::EvaluationError;
use crate::random::split_mix;
use crate::rows::{take, values};

/// A batch that is read when it is first needed, for one classifier.
pub(crate) struct Loaded<'d> {
    data: &'d dyn LabeledImages,
    victim: &'d Frozen,
    pub(crate) positions: Vec<usize>,
    batch: Option<(Batch, Vec<f32>)>,
}

impl<'d> Loaded<'d> {
    pub(crate) fn new(data: &'d dyn LabeledImages, victim: &'d Frozen, positions: &[usize]) -> Self {
        Self { data, victim, positions: positions.to_vec(), batch: None }
    }

    pub(crate) fn chosen(&self, which: impl Fn(usize) -> bool) -> Vec<usize> {
        self.positions.iter().copied().filter(|&p| which(p)).collect()
    }

    /// These images of the batch, on the device and in memory, with their goal.
    pub(crate) fn targets(&mut self, chosen: &[usize]) -> Result<Targets, EvaluationError> {
        let rows = rows_of(chosen, &self.positions);
        let labels: Vec<usize> = chosen.iter().map(|&p| self.data.label(p)).collect();
        if self.batch.is_none() {
            let batch = self.data.batch(&self.positions, self.victim.device())?;
            let pixels = values(batch.images.clone());
            expect_pixels(self.data, &self.positions, &pixels)?;
            self.batch = Some((batch, pixels));
        }
        let (batch, pixels) = self.batch.as_ref().expect("read above");
        let images = take(&batch.images, &rows);
        let size = images.dims()[1..].iter().product::<usize>();
        let pixels = rows.iter().flat_map(|&row| &pixels[row * size..][..size]).copied().collect();
        let indices = rows.into_iter().map(|row| batch.indices[row]).collect();
        Ok(Targets { images, pixels, goal: Goal::untargeted(labels).with_indices(indices) })
    }
}

/// Fails at the first of these images that has a value outside \[0,1\] or one that is NaN.
fn expect_pixels(
    data: &dyn LabeledImages,
    positions: &[usize],
    pixels: &[f32],
) -> Result<(), EvaluationError> {
    let outside = |value: &f32| !(0.0..=1.0).contains(value);
    let Some(place) = pixels.iter().position(outside) else { return Ok(()) };
    let image = data.name(positions[place / (pixels.len() / positions.len())]);
    Err(EvaluationError::Pixels { image, value: pixels[place] })
}

/// Where these positions are among all positions of a batch.
pub(super) fn rows_of(chosen: &[usize], all: &[usize]) -> Vec<usize> {
    chosen.iter().map(|p| all.iter().position(|q| q == p).expect("of this batch")).collect()
}

/// What tells a data set from others: names, groups and labels of its images.
pub(crate) fn images_identity(data: &dyn LabeledImages) -> String {
    let text = (0..data.len()).map(|p| format!("{}\n{}\n{}\n", data.name(p), data.group(p), data.label(p)));
    format!("{} images, {:016x}", data.len(), hash(text.flat_map(String::into_bytes).map(u64::from)))
}

/// What tells a classifier from others: its logits for the first four images.
pub(crate) fn classifier_identity(
    victim: &Frozen,
    data: &dyn LabeledImages,
) -> Result<String, EvaluationError> {
    identity("logits", data, victim.device(), |images| victim.logits(images))
}

/// What tells a classifier's features from others: those of the first four images.
pub(crate) fn features_identity(
    network: &FrozenFeatures,
    data: &dyn LabeledImages,
) -> Result<String, EvaluationError> {
    identity("features", data, network.device(), |images| network.features(images))
}

fn identity(
    what: &str,
    data: &dyn LabeledImages,
    device: &Device,
    of: impl FnOnce(Tensor<4>) -> Tensor<2>,
) -> Result<String, EvaluationError> {
    let first: Vec<usize> = (0..data.len().min(4)).collect();
    let found = values(of(data.batch(&first, device)?.images));
    Ok(format!("{what} {:016x}", hash(found.into_iter().map(|value| u64::from(value.to_bits())))))
}

fn hash(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, |state, value| split_mix(state ^ value))
}
