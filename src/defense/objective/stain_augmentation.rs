//! Other laboratories' stains on the training images.

use burn::config::Config;
use burn::tensor::Tensor;

use super::base::{Loss, Objective};
use super::cross_entropy::cross_entropy;
use super::step::Step;
use super::trainee::Trainee;
use crate::data::Batch;
use crate::defense::DefenseError;
use crate::parameter::{self, Parameter};
use crate::pixels::{StainShift, StainSpace};
use crate::random::{Purpose, generator};

const SHIFTS: Purpose = Purpose::named("stain augmentation");

/// Gives every training image another stain in each epoch, `s' = (1 + a) s + b` with six numbers uniform
/// between minus and plus the strength, cut to \[0,1\]: the stain augmentation of Tellez et al., "Quantifying
/// the effects of data augmentation and stain color normalization in convolutional neural networks for
/// computational pathology", Medical Image Analysis 58, 2019. What to attack it with is
/// [`Stain`](crate::attack::Stain) at the same strength.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | strength | required; 0.05 is the paper's "HED-light", 0.2 its "HED-strong" | a number from 0 to 1 |
/// | seed | 0 | any |
/// | stain colors | haematoxylin, eosin, DAB | three that are linearly independent |
/// | stain unit | 1: natural optical density | a finite number above 0 |
/// | channels | the images' | 3: red, green and blue |
///
/// ```
/// use histoguard::defense::StainAugmentation;
/// use histoguard::prelude::*;
///
/// let image = Tensor::full([1, 3, 8, 8], 0.5, &Device::default());
/// let stained = StainAugmentation::light().stained(image.clone(), &[7], 1)?;
/// let change: f32 = (stained - image).abs().max().into_scalar();
/// assert!(change > 0.0 && change < 0.1);
/// # Ok::<(), histoguard::defense::DefenseError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct StainAugmentation {
    /// How far each of the six numbers may be from 0.
    pub strength: f64,
    /// Seed of the stains.
    #[config(default = 0)]
    pub seed: u64,
    /// Which stains there are.
    #[config(default = "StainSpace::HED")]
    pub space: StainSpace,
}

impl StainAugmentation {
    /// At the strength of "HED-light", [`StainShift::LIGHT`].
    pub fn light() -> Self {
        Self::new(StainShift::LIGHT)
    }

    /// At the strength of "HED-strong", [`StainShift::STRONG`].
    pub fn strong() -> Self {
        Self::new(StainShift::STRONG)
    }

    /// The images in other stains; that of each depends on the seed, `epoch` and its index alone.
    ///
    /// # Shapes
    ///
    /// - `images`, output: `[batch, 3, height, width]`, values in \[0,1\]
    /// - `indices`: one an image
    ///
    /// # Errors
    ///
    /// [`DefenseError::Parameter`] if a parameter is out of its range, or if the images do not have three
    /// channels.
    ///
    /// # Panics
    ///
    /// Panics if there is not one index an image.
    pub fn stained(
        &self,
        images: Tensor<4>,
        indices: &[u64],
        epoch: usize,
    ) -> Result<Tensor<4>, DefenseError> {
        let [batch, channels, ..] = images.dims();
        let colored = Parameter::new("channels", "3: red, green and blue", channels == 3, channels);
        parameter::check(self.parameters().into_iter().chain([colored]))?;
        assert_eq!(indices.len(), batch, "one index an image");
        let shift = |&index: &u64| {
            StainShift::uniform(self.strength, &mut generator(SHIFTS, self.seed, &[epoch as u64, index]))
        };
        let shifts: Vec<StainShift> = indices.iter().map(shift).collect();
        Ok(self.space.shifted(self.space.stains(images), &shifts).clamp(0.0, 1.0))
    }
}

impl Objective for StainAugmentation {
    fn name(&self) -> String {
        "Stain augmentation".into()
    }

    fn parameters(&self) -> Vec<Parameter> {
        [vec![StainShift::strength(self.strength)], self.space.parameters()].concat()
    }

    fn craft(&self, step: &Step<'_>) -> Result<Tensor<4>, DefenseError> {
        let batch = step.batch();
        self.stained(batch.images.clone(), &batch.indices, batch.epoch)
    }

    fn loss(&self, network: &dyn Trainee, batch: &Batch, crafted: Tensor<4>) -> Loss {
        cross_entropy(network, crafted, batch.labels.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::values;
    use burn::tensor::{Device, TensorData};

    fn tissue(batch: usize) -> Tensor<4> {
        // All three stains vary, and none is so faint that another one of the range is brighter than white.
        let ramps = [(0.5, 0.016), (0.6, -0.018), (0.45, 0.002)];
        let pixel = |at: usize| ramps[at / 16].0 + ramps[at / 16].1 * (at % 16) as f32;
        let levels: Vec<f32> = (0..batch * 48).map(|at| pixel(at % 48)).collect();
        Tensor::from_data(TensorData::new(levels, [batch, 3, 4, 4]), &Device::default())
    }

    #[test]
    fn the_stain_of_an_image_does_not_depend_on_its_batch() {
        let strong = StainAugmentation::strong().with_seed(3);
        let together = values(strong.stained(tissue(3), &[5, 6, 7], 2).unwrap());
        let alone = values(strong.stained(tissue(1), &[6], 2).unwrap());
        assert_eq!(together[48..96], alone);
        assert_ne!(alone, values(strong.stained(tissue(1), &[6], 3).unwrap()), "fresh in each epoch");
        assert_ne!(alone, values(strong.stained(tissue(1), &[8], 2).unwrap()), "another image");
        assert_ne!(alone, values(strong.with_seed(4).stained(tissue(1), &[6], 2).unwrap()), "another seed");
    }

    /// What comes out is the paper's formula with six numbers that fill the range evenly.
    #[test]
    fn shifts_are_uniform_in_the_range() {
        let (space, strength) = (StainSpace::HED, 0.1);
        let count = 2000;
        let before = space.stains(tissue(1));
        let images = StainAugmentation::new(strength).stained(
            tissue(1).expand([count, 3, 4, 4]),
            &(0..count as u64).collect::<Vec<_>>(),
            1,
        );
        let after = values(space.stains(images.unwrap()));
        let before = values(before);
        let mut all = vec![];
        for image in after.chunks(48) {
            for stain in 0..3 {
                // Two pixels are two equations in scale and offset.
                let at = |values: &[f32], pixel: usize| f64::from(values[16 * stain + pixel]);
                let slope = (at(image, 15) - at(image, 0)) / (at(&before, 15) - at(&before, 0));
                all.push(slope - 1.0);
                all.push(at(image, 0) - slope * at(&before, 0));
            }
        }
        // Five standard errors of the mean, and of the mean square of a uniform number (variance 4/45 of the
        // range's).
        let moment = |k: i32| all.iter().map(|v| (v / strength).powi(k)).sum::<f64>() / all.len() as f64;
        let error = |variance: f64| 5.0 * (variance / all.len() as f64).sqrt();
        assert!(all.iter().all(|v| v.abs() < strength + 1e-3));
        assert!(moment(1).abs() < error(1.0 / 3.0) && (moment(2) - 1.0 / 3.0).abs() < error(4.0 / 45.0));
    }

    #[test]
    fn refuses_what_is_outside_the_documented_ranges() {
        let refused = |of: StainAugmentation, channels: usize| {
            let images = tissue(1).narrow(1, 0, channels);
            let error = of.stained(images, &[0], 1).unwrap_err();
            let DefenseError::Parameter(error) = error else { panic!("{error}") };
            error.parameter.into_owned()
        };
        for strength in [-0.1, 1.1, f64::NAN] {
            assert_eq!(refused(StainAugmentation::new(strength), 3), "strength");
        }
        assert_eq!(refused(StainAugmentation::light(), 1), "channels");
        let flat = StainSpace { colors: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]], unit: 1.0 };
        assert_eq!(refused(StainAugmentation::light().with_space(flat), 3), "stain colors");
    }
}
