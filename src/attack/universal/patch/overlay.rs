//! Laying a patch on images, and the way back of gradients.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::placement::{Placement, edge};
use super::shape::PatchShape;
use crate::pixels::Separable;
use crate::rows::{batch, values};

/// Lays patches of one size and outline on images of one size: `x (1 - m) + p m` with the patch `p` and its
/// opacity `m` resized to the image's shorter edge (bilinear, antialiased) and then turned, scaled and
/// shifted (nearest pixel), as `AdversarialPatchPyTorch` of IBM ART does with torchvision.
#[derive(Clone, Debug)]
pub struct PatchOverlay {
    size: usize,
    /// Height and width of the images.
    image: [usize; 2],
    resize: Separable,
    /// Of the resized patch, as large as the shorter edge.
    opacity: Vec<f32>,
}

impl PatchOverlay {
    /// For a patch of `size` by `size` pixels on images like these, `[batch, channels, height, width]`.
    ///
    /// # Panics
    ///
    /// Panics if the patch or the images have no pixels.
    pub fn new(shape: PatchShape, size: usize, images: &Tensor<4>) -> Self {
        let [.., height, width] = images.dims();
        let image = [height, width];
        assert!(size > 0 && edge(image) > 0, "a patch and images with pixels");
        let opacity = batch(shape.opacity(size), &Tensor::zeros([1, 1, size, size], &images.device()));
        let rows = antialiased_rows(size, edge(image));
        let resize = Separable::new(vec![(rows.clone(), rows)], &opacity);
        let opacity = values(resize.apply(opacity));
        Self { size, image, resize, opacity }
    }

    /// The images with the patch `[channels, size, size]` on them, in a place each.
    ///
    /// # Shapes
    ///
    /// - `images`, output: `[batch, channels, height, width]`, values in \[0,1\]
    ///
    /// # Panics
    ///
    /// Panics if the images or the patch are of other sizes, or if there is not one place an image.
    pub fn apply(&self, images: &Tensor<4>, patch: &Tensor<3>, places: &[Placement]) -> Tensor<4> {
        let [count, channels, height, width] = images.dims();
        assert_eq!((count, [height, width]), (places.len(), self.image), "a place an image of one size");
        assert_eq!(patch.dims(), [channels, self.size, self.size], "the patch's shape");
        let patch = values(self.resize.apply(patch.clone().unsqueeze()));
        let (mut pixels, square) = (values(images.clone()), self.opacity.len());
        pixels.par_chunks_mut(channels * height * width).zip(places).for_each(|(image, place)| {
            let sources = place.sources(self.image);
            for (channel, plane) in image.chunks_mut(height * width).enumerate() {
                for (pixel, source) in plane.iter_mut().zip(&sources) {
                    let Some(source) = *source else { continue };
                    let opacity = self.opacity[source];
                    if opacity > 0.0 {
                        let mixed = *pixel * (1.0 - opacity) + patch[channel * square + source] * opacity;
                        *pixel = mixed.clamp(0.0, 1.0);
                    }
                }
            }
        });
        batch(pixels, images)
    }

    /// The gradient at the patch, `[channels, size, size]`, summed over the images, from that at
    /// [`apply`](Self::apply)'s result.
    ///
    /// # Shapes
    ///
    /// - `gradient`: `[batch, channels, height, width]`
    ///
    /// # Panics
    ///
    /// As [`apply`](Self::apply).
    pub fn adjoint(&self, gradient: &Tensor<4>, places: &[Placement]) -> Tensor<3> {
        let [count, channels, height, width] = gradient.dims();
        assert_eq!((count, [height, width]), (places.len(), self.image), "a place an image of one size");
        let square = self.opacity.len();
        let of_image = |(image, place): (&[f32], &Placement)| {
            let mut sums = vec![0f64; channels * square];
            let sources = place.sources(self.image);
            for (channel, plane) in image.chunks(height * width).enumerate() {
                for (gradient, source) in plane.iter().zip(&sources) {
                    let Some(source) = *source else { continue };
                    sums[channel * square + source] += f64::from(gradient * self.opacity[source]);
                }
            }
            sums
        };
        let pixels = values(gradient.clone());
        let each: Vec<Vec<f64>> =
            pixels.par_chunks(channels * height * width).zip(places).map(of_image).collect();
        // In order, so that the sum does not depend on the number of threads.
        let mut sums = vec![0f64; channels * square];
        each.iter().for_each(|image| sums.iter_mut().zip(image).for_each(|(sum, value)| *sum += value));
        let side = edge(self.image);
        let like = Tensor::zeros([1, channels, side, side], &gradient.device());
        let sums = batch(sums.into_iter().map(|sum| sum as f32).collect(), &like);
        self.resize.adjoint(sums).squeeze_dim(0)
    }
}

/// Bilinear interpolation from `side` values to `size`, with a wider triangle where they become fewer:
/// PyTorch's `interpolate` with `antialias=True`.
fn antialiased_rows(side: usize, size: usize) -> Vec<f32> {
    let scale = side as f64 / size as f64;
    let support = scale.max(1.0);
    let mut rows = vec![0f32; size * side];
    for (i, row) in rows.chunks_mut(side).enumerate() {
        let middle = scale * (i as f64 + 0.5);
        let (first, end) = ((middle - support + 0.5).max(0.0) as usize, (middle + support + 0.5) as usize);
        let weight = |j: usize| (1.0 - ((j as f64 + 0.5 - middle) / support).abs()).max(0.0);
        let reached = first..end.min(side);
        let total: f64 = reached.clone().map(weight).sum();
        reached.for_each(|j| row[j] = (weight(j) / total) as f32);
    }
    rows
}
