//! The trait that a network implements to be attacked, and its predictions.

use burn::tensor::Tensor;

/// A network that maps pixels in \[0,1\] to logits.
///
/// Normalisation belongs inside (see [`Normalized`](crate::model::Normalized)), so that budgets are in
/// pixel units and training, attack and evaluation cannot disagree.
pub trait Classifier {
    /// Unnormalised class scores.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`, values in \[0,1\]
    /// - output: `[batch, classes]`
    fn logits(&self, images: Tensor<4>) -> Tensor<2>;

    /// The number of classes, the width of [`logits`](Self::logits).
    fn num_classes(&self) -> usize;

    /// What images it expects, such as `3 channels and at least 29x29 pixels`, if it cannot look at images of
    /// these channels, height and width; `None` if it can, as any by default.
    fn refuses(&self, channels: usize, height: usize, width: usize) -> Option<String> {
        let _ = (channels, height, width);
        None
    }

    /// The fewest square images of this side that a training step can be taken with: 2 where a batch norm in
    /// training sees one value a channel of a single image, which is its own mean and tells nothing; else 1.
    fn min_training_batch(&self, image_size: usize) -> usize {
        let _ = image_size;
        1
    }

    /// Says that weights and running statistics stay as they are from now on, so that the network may keep
    /// what it computes of them without looking whether they changed. [`Frozen`](super::Frozen) and
    /// [`FrozenFeatures`](super::FrozenFeatures) call it on the copy that they make; a network around another
    /// one passes it on, and others need not care.
    fn seal(&mut self) {}
}

/// The class with the highest score of each row; the lower class on a tie, and on a row with a NaN the
/// first class that is not beaten.
///
/// # Shapes
///
/// - `logits`: `[batch, classes]`
pub fn predictions(logits: Tensor<2>) -> Vec<usize> {
    let [_, classes] = logits.dims();
    let scores: Vec<f32> = logits.into_data().convert::<f32>().try_into_vec().expect("f32 after conversion");
    scores.chunks(classes.max(1)).map(highest).collect()
}

/// The place of the highest number, as [`predictions`] finds it.
pub(crate) fn highest(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}
