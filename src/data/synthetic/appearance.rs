//! What a drawn image shows: its tissue, its stain and its light.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use serde::Serialize;

use super::noise::mix;
use crate::random::{Purpose, generator, mix as mix_bits};

/// What a drawn image shows. Lengths are in units of the image's shorter side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TissueParameters {
    /// From 0, plainly benign, to 1, plainly malignant; the classes meet at 0.5.
    pub grade: f32,
    /// Mean radius of the epithelial nuclei.
    pub nucleus_radius: f32,
    /// Standard deviation of the nuclei's radius over its mean.
    pub size_variation: f32,
    /// How far a nucleus's outline is from an ellipse, as a share of its radius.
    pub irregularity: f32,
    /// Probability that an epithelial structure has lost its lumen and is a solid nest.
    pub gland_loss: f32,
    pub(super) look: Look,
}

/// Stain and light: of the slide, and a little of the image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Look {
    pub(super) seed: u64,
    /// Strengths of haematoxylin and eosin.
    pub(super) haematoxylin: f32,
    pub(super) eosin: f32,
    /// Optical densities of the two dyes in red, green and blue.
    pub(super) blue_dye: [f32; 3],
    pub(super) pink_dye: [f32; 3],
    /// The empty slide's colour.
    pub(super) light: [f32; 3],
    /// Darkening towards the corners.
    pub(super) vignette: f32,
    /// How much of the image is epithelium, 0 to 1; no matter of class.
    pub(super) cellularity: f32,
}

/// The dyes of Ruifrok and Johnston, "Quantification of histochemical staining by color deconvolution", 2001,
/// as ImageJ's plugin of that name has them under "H&E".
const HAEMATOXYLIN: [f32; 3] = [0.644, 0.717, 0.267];
const EOSIN: [f32; 3] = [0.093, 0.954, 0.283];

impl TissueParameters {
    pub(super) fn new(seed: u64, label: usize, slide: u64, number: u64) -> Self {
        // Slides of both classes go through the same baths: stain and light say nothing about the class.
        let slide_rng = &mut generator(Purpose::SLIDE, seed, &[slide]);
        let rng = &mut generator(Purpose::TISSUE, seed, &[number]);
        let share = 0.46 * rng.random::<f32>();
        let grade = if label == 0 { share } else { 1.0 - share };
        let scale = 1.0 + 0.05 * normal(slide_rng) + 0.04 * normal(rng);
        let mut vary = |spread: f32| 1.0 + spread * normal(rng);
        Self {
            grade,
            nucleus_radius: mix(0.016, 0.033, grade) * scale,
            size_variation: (mix(0.05, 0.32, grade) * vary(0.08)).max(0.02),
            irregularity: (mix(0.03, 0.22, grade) * vary(0.1)).max(0.0),
            gland_loss: (1.5 * grade - 0.25).clamp(0.03, 0.95),
            look: Look::new(slide_rng, rng, mix_bits(Purpose::NOISE, seed, &[number])),
        }
    }
}

impl Look {
    fn new(slide: &mut impl Rng, image: &mut impl Rng, seed: u64) -> Self {
        let mut strength = |of_slide: f32, of_image: f32| {
            (of_slide * normal(slide) + of_image * normal(image)).clamp(-0.9, 0.9).exp()
        };
        let (haematoxylin, eosin) = (1.05 * strength(0.28, 0.2), 0.95 * strength(0.28, 0.2));
        let dye =
            |rng: &mut _, base: [f32; 3], spread: f32| base.map(|d| (d + spread * normal(rng)).max(0.02));
        let brightness = slide.random_range(0.84..1.0);
        Self {
            seed,
            haematoxylin,
            eosin,
            blue_dye: dye(slide, HAEMATOXYLIN, 0.04),
            pink_dye: dye(slide, EOSIN, 0.04),
            light: [0.98, 0.95, 0.97].map(|c| (c * brightness * (1.0 + 0.02 * normal(slide))).min(1.0)),
            vignette: slide.random_range(0.0..0.22),
            cellularity: image.random(),
        }
    }
}

/// A normal deviate, cut off at three standard deviations.
pub(super) fn normal(rng: &mut impl Rng) -> f32 {
    let value: f32 = StandardNormal.sample(rng);
    value.clamp(-3.0, 3.0)
}
