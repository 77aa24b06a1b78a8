//! A batch of images as training, defenses and evaluation see it.

use burn::tensor::{Int, Tensor};

/// Images with their labels and what per-image randomness is drawn from.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[batch, channels, height, width]`, values in \[0,1\].
    pub images: Tensor<4>,
    /// Class of each image, `[batch]`.
    pub labels: Tensor<1, Int>,
    /// Index of each image in its data set: with the seed and the epoch, the source of its randomness.
    pub indices: Vec<u64>,
    /// Training epoch, from 1; 0 outside training.
    pub epoch: usize,
}
