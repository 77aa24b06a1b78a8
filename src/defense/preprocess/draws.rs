//! Random numbers of a random preprocessing, a generator for every question about an image.

use std::sync::{Mutex, PoisonError};

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::repeats::Repeats;
use crate::random::{Generator, Purpose, generator, split_mix};
use crate::rows::values;

/// Random numbers of the images in a batch. A classifier sees no image's index, so they come from the image's
/// values and from how often this image was asked about before: they do not depend on the batch or on other
/// images, and every question about an image draws anew.
///
/// The default has no generators; it is for preprocessings that are not random.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageDraws {
    /// Each image's values as one number, and how often the image was seen before.
    images: Vec<[u64; 2]>,
    parts: Vec<u64>,
}

impl ImageDraws {
    /// Those of images that are asked about for the first time.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`
    pub fn first(images: &Tensor<4>) -> Self {
        Self::after(&Mutex::default(), images)
    }

    /// Those of images that are asked about again, which are counted.
    pub(super) fn after(repeats: &Mutex<Repeats>, images: &Tensor<4>) -> Self {
        // Before the lock: who waits for other threads may meanwhile run a task that comes here.
        let images = fingerprints(images);
        // A panic leaves no count half made.
        let mut repeats = repeats.lock().unwrap_or_else(PoisonError::into_inner);
        let images = images.into_iter().map(|image| [image, repeats.count(image)]).collect();
        Self { images, parts: Vec::new() }
    }

    /// Others of the same images: parts tell the draws of one image apart.
    pub fn part(&self, part: u64) -> Self {
        Self { images: self.images.clone(), parts: [&*self.parts, &[part]].concat() }
    }

    /// The generator of the image in this row.
    ///
    /// # Panics
    ///
    /// Panics if there is no such row, as in the draws for a preprocessing that is not
    /// [random](super::Preprocess::is_random).
    pub fn generator(&self, purpose: Purpose, seed: u64, row: usize) -> Generator {
        generator(purpose, seed, &[&self.images[row][..], &self.parts].concat())
    }
}

/// Every image's values, bit for bit, as one number.
fn fingerprints(images: &Tensor<4>) -> Vec<u64> {
    let size = images.dims()[1..].iter().product::<usize>();
    let bits = |value: Option<&f32>| u64::from(value.map_or(0, |value| value.to_bits()));
    let mix = |hash, pair: &[f32]| split_mix(hash ^ (bits(pair.first()) << 32 | bits(pair.get(1))));
    let numbers = values(images.clone().inner());
    numbers.par_chunks(size.max(1)).map(|image| image.chunks(2).fold(size as u64, mix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::RngExt;
    use burn::tensor::Device;

    const PURPOSE: Purpose = Purpose::named("a test of draws");

    fn drawn(draws: &ImageDraws, row: usize) -> u64 {
        draws.generator(PURPOSE, 0, row).random()
    }

    #[test]
    fn draws_depend_on_the_image_and_its_repetition_alone() {
        let image = |grey: f64| Tensor::<4>::full([1, 1, 3, 3], grey, &Device::default());
        let both = Tensor::cat(vec![image(0.25), image(0.75)], 0);
        let (together, apart) = (Mutex::default(), Mutex::default());
        for _ in 0..3 {
            let rows = ImageDraws::after(&together, &both);
            let second = ImageDraws::after(&apart, &image(0.75));
            let first = ImageDraws::after(&apart, &image(0.25));
            assert_eq!((drawn(&rows, 0), drawn(&rows, 1)), (drawn(&first, 0), drawn(&second, 0)));
            assert_ne!(drawn(&rows, 0), drawn(&rows, 1));
        }
        let again = ImageDraws::after(&together, &image(0.25));
        let fresh = ImageDraws::first(&image(0.25));
        assert_ne!(drawn(&again, 0), drawn(&fresh, 0), "every question draws anew");
        assert_ne!(drawn(&fresh, 0), drawn(&fresh.part(0), 0));
        assert_ne!(drawn(&fresh.part(0), 0), drawn(&fresh.part(1), 0));
    }

    #[test]
    fn a_batch_that_repeats_an_image_counts_as_several_questions() {
        let image = Tensor::<4>::full([1, 1, 2, 3], 0.5, &Device::default());
        let one_by_one = Mutex::default();
        let rows = ImageDraws::first(&image.clone().repeat_dim(0, 3));
        for row in 0..3 {
            assert_eq!(drawn(&rows, row), drawn(&ImageDraws::after(&one_by_one, &image), 0));
        }
    }

    #[test]
    fn the_smallest_change_of_an_image_draws_anew() {
        let device = Device::default();
        let images = [[0.5, 0.25], [0.25, 0.5], [0.5, f32::from_bits(0.25f32.to_bits() + 1)]];
        let draw = |image| {
            drawn(&ImageDraws::first(&Tensor::<1>::from_floats(image, &device).reshape([1, 1, 1, 2])), 0)
        };
        let [a, b, c] = images.map(draw);
        assert!(a != b && b != c && a != c);
    }
}
