//! The median of a window around every value.

use burn::config::Config;
use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Backward, ImageDraws, Preprocess};
use crate::parameter::Parameter;
use crate::rows::values;

/// Backward passes through [`Median`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MedianBackward {
    /// The exact one, to the value that was selected: the stronger attack on two small networks, with windows
    /// of 2 and 3.
    Selected,
    /// That of the identity, which reaches every value.
    Identity,
}

/// The median of a square window around every value, each channel by itself; images of any number of
/// channels.
///
/// Xu, Evans & Qi, "Feature Squeezing", NDSS 2018, with windows of 2 and 3; equal to SciPy's `median_filter`
/// with mode "reflect" (`d c b a | a b c d | d c b a`), and so to ART's `SpatialSmoothing`. The median of an
/// even number of values is the upper one, and the middle of an even window its lower right cell.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | window | 3 | at least 1 |
/// | backward | selected | selected or identity |
///
/// ```
/// use histoguard::defense::{ImageDraws, Median, Preprocess};
/// use histoguard::prelude::*;
///
/// // A speck.
/// let mut image = vec![0.5f32; 25];
/// image[12] = 1.0;
/// let image = Tensor::<1>::from_floats(image.as_slice(), &Device::default()).reshape([1, 1, 5, 5]);
/// let smooth = Median::new().apply(image, &ImageDraws::default());
/// assert_eq!(smooth.max().into_scalar::<f32>(), 0.5);
/// ```
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub struct Median {
    /// The window's side in pixels.
    #[config(default = 3)]
    pub window: usize,
    /// How gradients go back.
    #[config(default = "MedianBackward::Selected")]
    pub backward: MedianBackward,
}

impl Median {
    /// For every value the position in its plane of the one that takes its place.
    fn selected(self, images: &Tensor<4>) -> Vec<i64> {
        let [_, _, height, width] = images.dims();
        let numbers = values(images.clone().inner());
        let (rows, columns) = (self.reach(height), self.reach(width));
        let mut selected = vec![0i64; numbers.len()];
        let lines = selected.par_chunks_mut(width.max(1)).enumerate();
        lines.for_each_init(
            Default::default,
            |(sorted, window): &mut (Vec<u64>, Vec<u64>), (line, selected)| {
                let plane = &numbers[line / height * height * width..][..height * width];
                sorted.clear();
                for column in 0..width {
                    let places = rows[line % height].iter().map(|&row| row * width + column);
                    sorted.extend(places.map(|at| ranked(plane[at], at)));
                    sorted[column * self.window..].sort_unstable();
                }
                let column = |&column: &usize| &sorted[column * self.window..][..self.window];
                for (selected, columns) in selected.iter_mut().zip(&columns) {
                    let middle = match columns[..] {
                        [a, b, c] => middle_of_nine([a, b, c].map(|place| column(&place))),
                        _ => {
                            window.clear();
                            window.extend(columns.iter().flat_map(column));
                            let middle = window.len() / 2;
                            *window.select_nth_unstable(middle).1
                        }
                    };
                    *selected = i64::from(middle as u32);
                }
            },
        );
        selected
    }

    /// The places that the window around each place covers, reflected at both ends.
    fn reach(self, side: usize) -> Vec<Vec<usize>> {
        let (side, before) = (side as isize, (self.window / 2) as isize);
        let reflected = |at: isize| {
            let at = at.rem_euclid(2 * side);
            at.min(2 * side - 1 - at) as usize
        };
        let window = |at: isize| (at - before..at - before + self.window as isize).map(reflected).collect();
        (0..side).map(window).collect()
    }
}

/// A number with the order of the values, and among equal ones of their positions, which are its low half.
fn ranked(value: f32, position: usize) -> u64 {
    let bits = value.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(ordered) << 32 | position as u64
}

/// The median of three sorted columns: that of the largest of the lows, the median of the middles and the
/// least of the highs.
fn middle_of_nine([a, b, c]: [&[u64]; 3]) -> u64 {
    let median = |a: u64, b: u64, c: u64| a.min(b).max(a.max(b).min(c));
    let (low, high) = (a[0].max(b[0]).max(c[0]), a[2].min(b[2]).min(c[2]));
    median(low, median(a[1], b[1], c[1]), high)
}

impl Preprocess for Median {
    fn name(&self) -> String {
        "Median".into()
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter::at_least("window", self.window, 1)]
    }

    fn is_random(&self) -> bool {
        false
    }

    fn apply(&self, images: Tensor<4>, _: &ImageDraws) -> Tensor<4> {
        let [batch, channels, height, width] = images.dims();
        let selected = TensorData::new(self.selected(&images), [batch, channels, height * width]);
        let selected = Tensor::<3, Int>::from_data(selected, &images.device());
        images
            .reshape([batch, channels, height * width])
            .gather(2, selected)
            .reshape([batch, channels, height, width])
    }

    fn backward(&self) -> Backward {
        match self.backward {
            MedianBackward::Selected => Backward::Exact,
            MedianBackward::Identity => Backward::Identity,
        }
    }
}
