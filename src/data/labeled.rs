//! Labelled images as evaluation and attacks see them: a data set on disk, or tensors in memory.

use burn::tensor::{Device, Int, Tensor};

use super::{Batch, DataError};

/// Labelled images that can be fetched in any order, always the same for the same position.
pub trait LabeledImages {
    /// Number of images.
    fn len(&self) -> usize;

    /// Whether there is no image.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the classes; labels are positions in this list.
    fn classes(&self) -> &[String];

    /// Class of an image.
    fn label(&self, position: usize) -> usize;

    /// What an image shares with others: its slide, or its patient. Images without one are their own group.
    fn group(&self, position: usize) -> String;

    /// A short name of an image: its file's name.
    fn name(&self, position: usize) -> String;

    /// Whether the images were drawn, not photographed.
    fn is_synthetic(&self) -> bool {
        false
    }

    /// The images at these positions, outside training (no augmentation), in \[0,1\].
    ///
    /// # Errors
    ///
    /// [`DataError`] if an image cannot be read.
    ///
    /// # Panics
    ///
    /// Panics if a position is past the end.
    fn batch(&self, positions: &[usize], device: &Device) -> Result<Batch, DataError>;
}

/// Labelled images held as one tensor.
#[derive(Clone, Debug)]
pub struct TensorSet {
    images: Tensor<4>,
    labels: Vec<usize>,
    classes: Vec<String>,
}

impl TensorSet {
    /// Images `[count, channels, height, width]` in \[0,1\] and one label an image.
    ///
    /// # Errors
    ///
    /// [`DataError::Labels`] if the counts differ or a label has no class name.
    pub fn new(images: Tensor<4>, labels: Vec<usize>, classes: Vec<String>) -> Result<Self, DataError> {
        let [count, ..] = images.dims();
        if labels.len() != count {
            let expected = format!("{count} labels, one an image");
            return Err(DataError::Labels { expected, found: format!("{} labels", labels.len()) });
        }
        check_labels(labels.iter().copied(), classes.len())?;
        Ok(Self { images: images.inner(), labels, classes })
    }
}

/// Checks that every label is one of so many classes.
pub(crate) fn check_labels(mut labels: impl Iterator<Item = usize>, classes: usize) -> Result<(), DataError> {
    let Some(bad) = labels.find(|&label| label >= classes) else { return Ok(()) };
    let expected = format!("labels below {classes}, the number of classes");
    Err(DataError::Labels { expected, found: bad.to_string() })
}

impl LabeledImages for TensorSet {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, position: usize) -> usize {
        self.labels[position]
    }

    fn group(&self, position: usize) -> String {
        self.name(position)
    }

    fn name(&self, position: usize) -> String {
        format!("image {position}")
    }

    fn batch(&self, positions: &[usize], device: &Device) -> Result<Batch, DataError> {
        let select: Vec<i64> = positions.iter().map(|&p| p as i64).collect();
        let select = Tensor::<1, Int>::from_data(select.as_slice(), &self.images.device());
        let labels: Vec<i64> = positions.iter().map(|&p| self.labels[p] as i64).collect();
        Ok(Batch {
            images: self.images.clone().select(0, select).to_device(device),
            labels: Tensor::from_data(labels.as_slice(), device),
            indices: positions.iter().map(|&p| p as u64).collect(),
            epoch: 0,
        })
    }
}
