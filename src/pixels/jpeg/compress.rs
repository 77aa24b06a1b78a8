//! JPEG of a batch.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::codec::round_trip;
use super::tables::Tables;
use crate::rows::each;

/// How much of the colour is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subsampling {
    /// All of it (4:4:4), as the crate `image` writes it.
    #[serde(rename = "4:4:4")]
    Full,
    /// A quarter of its values (4:2:0), as Pillow writes it by default.
    #[serde(rename = "4:2:0")]
    Halved,
}

/// What Pillow reads back from its own JPEG files of these images, whose values are rounded to 8 bits first.
///
/// # Shapes
///
/// - `images`, output: `[batch, channels, height, width]`, one channel of brightness or red, green and blue,
///   in \[0,1\]
///
/// # Panics
///
/// Panics if the quality is not from 1 to 100, or on images of another number of channels.
pub fn jpeg(images: Tensor<4>, quality: usize, subsampling: Subsampling) -> Tensor<4> {
    let [_, channels, height, width] = images.dims();
    assert!((1..=100).contains(&quality), "JPEG of a quality from 1 to 100, found {quality}");
    assert!(channels == 1 || channels == 3, "JPEG of images of 1 or 3 channels, found {channels}");
    let (tables, halve) = (Tables::of(quality), subsampling == Subsampling::Halved);
    each(&images, |_, image| round_trip(image, [channels, height, width], &tables, halve))
}
