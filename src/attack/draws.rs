//! Random numbers, a generator an image.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use crate::random::{Generator, Purpose, generator};

/// Random numbers of the images of a [`Task`](super::Task), a generator each: they do not depend on the batch, the number
/// of threads or the device.
#[derive(Clone, Debug)]
pub struct Draws {
    indices: Vec<u64>,
    purpose: Purpose,
    seed: u64,
    parts: Vec<u64>,
}

impl Draws {
    pub(super) fn new(indices: Vec<u64>, purpose: Purpose, seed: u64, parts: Vec<u64>) -> Self {
        Self { indices, purpose, seed, parts }
    }

    /// The generator of the image in this row.
    ///
    /// # Panics
    ///
    /// Panics if there is no such row.
    pub fn generator(&self, row: usize) -> Generator {
        generator(self.purpose, self.seed, &[&[self.indices[row]], &*self.parts].concat())
    }

    /// One perturbation an image, from zeros that `fill` writes over.
    ///
    /// # Shapes
    ///
    /// - `images`, output: `[batch, channels, height, width]`
    pub fn perturbations(
        &self,
        images: &Tensor<4>,
        fill: impl Fn(&mut [f32], &mut Generator) + Sync,
    ) -> Tensor<4> {
        let dims = images.dims();
        let size: usize = dims[1..].iter().product();
        let mut values = vec![0f32; dims[0] * size];
        values
            .par_chunks_mut(size.max(1))
            .enumerate()
            .for_each(|(row, image)| fill(image, &mut self.generator(row)));
        Tensor::from_data(TensorData::new(values, dims), (&images.device(), images.dtype()))
    }
}
