//! Random numbers, a generator an image.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::region::spread;
use crate::random::{Generator, Purpose, generator};

/// Random numbers of the images of a [`Task`](super::Task), a generator each: they do not depend on the batch, the number
/// of threads or the device.
#[derive(Clone, Debug)]
pub struct Draws {
    indices: Vec<u64>,
    purpose: Purpose,
    seed: u64,
    parts: Vec<u64>,
    /// The values of each image that may change, under a mask.
    free: Option<Vec<Arc<[usize]>>>,
}

impl Draws {
    pub(super) fn new(
        indices: Vec<u64>,
        purpose: Purpose,
        seed: u64,
        parts: Vec<u64>,
        free: Option<Vec<Arc<[usize]>>>,
    ) -> Self {
        Self { indices, purpose, seed, parts, free }
    }

    /// The same for whole images, whatever the mask: for random numbers that are no part of the change, such
    /// as a defense's own noise.
    pub fn everywhere(self) -> Self {
        Self { free: None, ..self }
    }

    /// The generator of the image in this row.
    ///
    /// # Panics
    ///
    /// Panics if there is no such row.
    pub fn generator(&self, row: usize) -> Generator {
        generator(self.purpose, self.seed, &[&[self.indices[row]], &*self.parts].concat())
    }

    /// The numbers that `draw` makes of a length and the image's generator, at the places of an image of
    /// `size` values that may change; zeros elsewhere.
    ///
    /// # Panics
    ///
    /// Panics if there is no such row.
    pub fn numbers<T: Copy + Default>(
        &self,
        row: usize,
        size: usize,
        draw: impl FnOnce(usize, &mut Generator) -> Vec<T>,
    ) -> Vec<T> {
        let mut generator = self.generator(row);
        match &self.free {
            None => draw(size, &mut generator),
            Some(free) => spread(&free[row], &draw(free[row].len(), &mut generator), size),
        }
    }

    /// One perturbation an image, from zeros that `fill` writes over. Under a mask it gets as many as there
    /// are values that may change, in their order; the others stay zero.
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
        values.par_chunks_mut(size.max(1)).enumerate().for_each(|(row, image)| match &self.free {
            None => fill(image, &mut self.generator(row)),
            Some(free) => {
                let mut some = vec![0f32; free[row].len()];
                fill(&mut some, &mut self.generator(row));
                image.copy_from_slice(&spread(&free[row], &some, size));
            }
        });
        Tensor::from_data(TensorData::new(values, dims), (&images.device(), images.dtype()))
    }
}
