//! Normal noise, a generator a draw.

use burn::tensor::{DType, Device, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::random::{Generator, Purpose, generator};

/// Draws of normal noise over an image, each from the seed, these parts and its number alone.
pub(super) struct Noise<'a> {
    pub(super) purpose: Purpose,
    pub(super) seed: u64,
    pub(super) parts: &'a [u64],
    pub(super) sigma: f64,
}

impl Noise<'_> {
    /// The draws with these numbers, `[draws, channels, height, width]`.
    pub(super) fn draws(
        &self,
        numbers: std::ops::Range<usize>,
        shape: [usize; 3],
        (device, dtype): (&Device, DType),
    ) -> Tensor<4> {
        let [channels, height, width] = shape;
        let size = channels * height * width;
        let mut noise = vec![0f32; numbers.len() * size];
        noise.par_chunks_mut(size.max(1)).zip(numbers.clone()).for_each(|(noise, number)| {
            let parts = [self.parts, &[number as u64]].concat();
            fill(noise, self.sigma, &mut generator(self.purpose, self.seed, &parts));
        });
        let data = TensorData::new(noise, [numbers.len(), channels, height, width]);
        Tensor::from_data(data, (device, dtype))
    }
}

/// Normal noise in place of these values.
pub(super) fn fill(values: &mut [f32], sigma: f64, generator: &mut Generator) {
    for value in values {
        let standard: f32 = StandardNormal.sample(generator);
        *value = standard * sigma as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::values;

    const PURPOSE: Purpose = Purpose::named("test of smoothing's noise");

    #[test]
    fn a_draw_does_not_depend_on_the_others() {
        let device = Device::default();
        let noise = |seed, index, numbers| {
            let noise = Noise { purpose: PURPOSE, seed, parts: &[index], sigma: 0.5 };
            values(noise.draws(numbers, [3, 4, 5], (&device, DType::F32)))
        };
        let together = noise(1, 7, 0..6);
        assert_eq!(together[60..180], noise(1, 7, 1..3));
        for other in [noise(1, 7, 3..5), noise(2, 7, 1..3), noise(1, 8, 1..3)] {
            assert!(other.iter().zip(&together[60..180]).all(|(a, b)| a != b));
        }
    }

    #[test]
    fn moments_are_those_of_the_normal_distribution() {
        let noise = Noise { purpose: PURPOSE, seed: 0, parts: &[], sigma: 0.25 };
        let drawn = values(noise.draws(0..64, [3, 16, 16], (&Device::default(), DType::F32)));
        let moment =
            |k: i32| drawn.iter().map(|&v| (f64::from(v) / 0.25).powi(k)).sum::<f64>() / drawn.len() as f64;
        // Five standard errors of the mean, variance (2) and fourth moment (96) of 49,152 values.
        let bound = |variance: f64| 5.0 * (variance / drawn.len() as f64).sqrt();
        assert!(moment(1).abs() < bound(1.0) && (moment(2) - 1.0).abs() < bound(2.0));
        assert!((moment(4) - 3.0).abs() < bound(96.0));
    }
}
