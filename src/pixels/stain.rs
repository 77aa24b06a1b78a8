//! Stains instead of colors: color deconvolution of histological images.

use burn::tensor::Tensor;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::parameter::Parameter;
use crate::rows::{factors, values};

/// The least light that counts: darker values have no finite density.
const DARKEST: f64 = 1e-6;
/// The density of the darkest value, `-ln(1e-6)`.
const LARGEST_DENSITY: f64 = 13.815_510_557_964_274;

/// Color deconvolution of Ruifrok & Johnston, "Quantification of histochemical staining by color
/// deconvolution", Analytical and Quantitative Cytology and Histology 23, 2001: what light a stain absorbs is
/// proportional to its amount (Beer & Lambert), so that the logarithms of a pixel's red, green and blue are
/// sums over its stains.
///
/// `-ln(max(x, 1e-6)) / unit = s M` with the stains' amounts `s` and their colors as the rows of M. As
/// scikit-image's `rgb2hed` and `hed2rgb` since 0.18, but that no stain is cut at zero: the way there and
/// back is the identity, for values of at least 1e-6. Both ways are plain tensor operations: gradients go
/// through them.
///
/// ```
/// use histoguard::pixels::StainSpace;
/// use histoguard::prelude::*;
///
/// let image = Tensor::<1>::from_floats([0.8, 0.5, 0.7], &Device::default()).reshape([1, 3, 1, 1]);
/// let stains = StainSpace::SKIMAGE.stains(image.clone());
/// let back = StainSpace::SKIMAGE.images(stains);
/// let difference: f32 = (back - image).abs().max().into_scalar();
/// assert!(difference < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StainSpace {
    /// The density of each stain in red, green and blue: a row a stain, any three that are linearly
    /// independent.
    pub colors: [[f64; 3]; 3],
    /// The natural optical density, `-ln(x)`, that counts as an amount of 1 in a stain of color 1: finite,
    /// above 0.
    pub unit: f64,
}

impl StainSpace {
    /// The colors of haematoxylin, eosin and DAB of Ruifrok & Johnston, as scikit-image has them
    /// (`rgb_from_hed`). In sections without DAB the third stain is what haematoxylin and eosin leave over.
    pub const HED_COLORS: [[f64; 3]; 3] = [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]];

    /// Haematoxylin, eosin and DAB in natural optical density, as Beer & Lambert's law has it.
    pub const HED: Self = Self { colors: Self::HED_COLORS, unit: 1.0 };

    /// The same in scikit-image's unit, the density of 1e-6: amounts are 13.8 times as small.
    pub const SKIMAGE: Self = Self { colors: Self::HED_COLORS, unit: LARGEST_DENSITY };

    /// Two stains and, as the residual, the color that is perpendicular to both: their cross product, as
    /// scikit-image has it for haematoxylin and DAB (`rgb_from_hdx`). In natural optical density.
    pub fn with_residual(first: [f64; 3], second: [f64; 3]) -> Self {
        let at = |i: usize, j: usize| first[i] * second[j] - first[j] * second[i];
        Self { colors: [first, second, [at(1, 2), at(2, 0), at(0, 1)]], unit: 1.0 }
    }

    /// Its parts beside their ranges.
    pub fn parameters(&self) -> Vec<Parameter> {
        let independent = self.inverse().is_some();
        let found = format!("{:?}", self.colors);
        vec![
            Parameter::new("stain colors", "three that are linearly independent", independent, found),
            Parameter::above_zero("stain unit", self.unit),
        ]
    }

    /// The amounts of the stains in these images.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]`, red, green and blue in \[0,1\]
    /// - output: the same with a channel a stain
    ///
    /// # Panics
    ///
    /// Panics if there are not three channels, or if the colors are not linearly independent.
    pub fn stains(&self, images: Tensor<4>) -> Tensor<4> {
        let inverse = self.inverse().expect("colors that are linearly independent");
        let densities = images.clamp_min(DARKEST).log() / -self.unit;
        mixed(densities, &inverse)
    }

    /// Images of these amounts of stains, not cut to \[0,1\]: less than no stain is brighter than white.
    ///
    /// # Shapes
    ///
    /// - `stains`, output: `[batch, 3, height, width]`
    ///
    /// # Panics
    ///
    /// Panics if there are not three channels.
    pub fn images(&self, stains: Tensor<4>) -> Tensor<4> {
        (mixed(stains, &self.colors) * -self.unit).exp()
    }

    /// Images of these stains with a shift an image, not cut to \[0,1\].
    ///
    /// # Shapes
    ///
    /// - `stains`, output: `[batch, 3, height, width]`
    ///
    /// # Panics
    ///
    /// Panics if there is not one shift an image, or if there are not three channels.
    pub fn shifted(&self, stains: Tensor<4>, shifts: &[StainShift]) -> Tensor<4> {
        assert_eq!(stains.dims()[0], shifts.len(), "one shift an image");
        let channels = (0..3).map(|c| {
            let part = |of: fn(&StainShift) -> &[f64; 3]| {
                factors(&shifts.iter().map(|shift| of(shift)[c]).collect::<Vec<_>>(), &stains)
            };
            let stain = stains.clone().narrow(1, c, 1);
            stain * (part(|shift| &shift.scale) + 1.0) + part(|shift| &shift.offset)
        });
        self.images(Tensor::cat(channels.collect(), 1))
    }

    /// The gradient with respect to each image's shift, from that with respect to the pixels of what
    /// [`shifted`](Self::shifted) made of these stains.
    ///
    /// # Shapes
    ///
    /// - `stains`, `shifted`, `gradient`: `[batch, 3, height, width]`
    ///
    /// # Panics
    ///
    /// Panics if the shapes differ.
    pub fn shift_gradient(
        &self,
        stains: &Tensor<4>,
        shifted: Tensor<4>,
        gradient: Tensor<4>,
    ) -> Vec<StainShift> {
        let transposed = [0, 1, 2].map(|color| self.colors.map(|stain| stain[color]));
        let offset = mixed(gradient * shifted * -self.unit, &transposed);
        let sums = |each: Tensor<4>| values(each.sum_dims(&[2, 3]));
        let (scale, offset) = (sums(stains.clone() * offset.clone()), sums(offset));
        let of_image = |(scale, offset): (&[f32], &[f32])| {
            let [scale, offset] = [scale, offset].map(|of| [0, 1, 2].map(|c| f64::from(of[c])));
            StainShift { scale, offset }
        };
        scale.chunks(3).zip(offset.chunks(3)).map(of_image).collect()
    }

    /// The stains of each color; `None` if there is no way back.
    fn inverse(&self) -> Option<[[f64; 3]; 3]> {
        let m = &self.colors;
        // Cofactors with their signs, cyclically.
        let cofactor = |i: usize, j: usize| {
            let ([a, b], [c, d]) = ([(i + 1) % 3, (i + 2) % 3], [(j + 1) % 3, (j + 2) % 3]);
            m[a][c] * m[b][d] - m[a][d] * m[b][c]
        };
        let determinant: f64 = (0..3).map(|j| m[0][j] * cofactor(0, j)).sum();
        let size = m.iter().map(|row| row.iter().map(|v| v * v).sum::<f64>().sqrt()).product::<f64>();
        // Of rows of length 1 this is the volume that they span.
        let independent = size.is_finite() && determinant.abs() > 1e-6 * size;
        independent.then(|| [0, 1, 2].map(|i| [0, 1, 2].map(|j| cofactor(j, i) / determinant)))
    }
}

/// `y_k = sum over c of x_c m[c][k]` of each pixel, in plain sums: matrix units may round to fewer digits.
fn mixed(channels: Tensor<4>, matrix: &[[f64; 3]; 3]) -> Tensor<4> {
    assert_eq!(channels.dims()[1], 3, "three channels");
    let [first, second, third] = [0, 1, 2].map(|c| channels.clone().narrow(1, c, 1));
    let column = |k: usize| {
        first.clone() * matrix[0][k] + second.clone() * matrix[1][k] + third.clone() * matrix[2][k]
    };
    Tensor::cat(vec![column(0), column(1), column(2)], 1)
}

/// Another laboratory's stain: `s' = (1 + scale) s + offset` for the amount s of each stain (Tellez et al.,
/// "Quantifying the effects of data augmentation and stain color normalization in convolutional neural
/// networks for computational pathology", Medical Image Analysis 58, 2019).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StainShift {
    /// By which share each stain is stronger.
    pub scale: [f64; 3],
    /// How much there is more of each, wherever it is, in the unit of the [`StainSpace`].
    pub offset: [f64; 3],
}

impl StainShift {
    /// The paper's "HED-light": scales and offsets between minus and plus this.
    pub const LIGHT: f64 = 0.05;
    /// The paper's "HED-strong".
    pub const STRONG: f64 = 0.2;

    /// Six numbers: scales, then offsets.
    pub fn new([a, b, c, d, e, f]: [f64; 6]) -> Self {
        Self { scale: [a, b, c], offset: [d, e, f] }
    }

    /// Its six numbers: scales, then offsets.
    pub fn numbers(&self) -> [f64; 6] {
        let ([a, b, c], [d, e, f]) = (self.scale, self.offset);
        [a, b, c, d, e, f]
    }

    /// Six numbers uniform between minus and plus `strength`.
    pub fn uniform(strength: f64, rng: &mut impl Rng) -> Self {
        Self::new(std::array::from_fn(|_| strength * rng.random_range(-1.0..=1.0)))
    }

    /// How far it may go, beside its range: at 1 a stain may be gone altogether.
    pub fn strength(strength: f64) -> Parameter {
        Parameter::within("strength", strength, 0.0..=1.0)
    }
}
