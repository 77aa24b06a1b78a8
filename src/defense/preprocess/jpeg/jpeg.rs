//! JPEG compression.

use burn::config::Config;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::smooth::{cubic, smooth};
use crate::defense::{Backward, ImageDraws, Preprocess};
use crate::parameter::Parameter;
use crate::pixels::{Subsampling, Tables, jpeg};

/// Backward passes through [`Jpeg`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JpegBackward {
    /// The gradient of a JPEG whose rounding of coefficients is `round(c) + (c - round(c))^3`: Shin & Song,
    /// "JPEG-resistant Adversarial Images", NIPS 2017 workshop on machine learning and computer security.
    /// It vanishes where coefficients are on a step already, as in an image that was compressed before.
    Cubic,
    /// That of a JPEG without rounding: the identity, with the colour blurred at 4:2:0.
    Linear,
    /// That of the identity.
    Identity,
}

/// JPEG compression and decompression.
///
/// Dziugaite, Ghahramani & Roy, "A study of the effect of JPG compression on adversarial images", 2016; Das
/// et al., "Keeping the Bad Guys Out", 2017; Guo et al., ICLR 2018, with quality 75. Values are rounded to 8
/// bits first (ART and obfuscated-gradients cut them, which darkens by half a level). Then it is libjpeg's
/// arithmetic: JFIF's YCbCr, the integer DCT, the tables of Annex K scaled by the quality, and triangles to
/// enlarge the colour again. Only the lossless coding is left out, so that the result is what Pillow reads
/// back from its own file. Images of one channel, whose levels are the brightness, or of three, red, green
/// and blue.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | quality | required | from 1 to 100 |
/// | subsampling | 4:2:0 | 4:4:4 or 4:2:0 |
/// | backward | linear | cubic, linear or identity |
///
/// # Panics
///
/// [`apply`](Preprocess::apply) panics on images of another number of channels.
///
/// ```
/// use histoguard::defense::{ImageDraws, Jpeg, Preprocess, Subsampling};
/// use histoguard::prelude::*;
///
/// let image = Tensor::full([1, 3, 20, 20], 0.4, &Device::default());
/// let jpeg = Jpeg::new(75).with_subsampling(Subsampling::Full);
/// let change = (jpeg.apply(image.clone(), &ImageDraws::default()) - image).abs().max();
/// assert!(change.into_scalar::<f32>() < 2.0 / 255.0);
/// ```
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub struct Jpeg {
    /// From 1 to 100, libjpeg's scale.
    pub quality: usize,
    /// How much of the colour is kept.
    #[config(default = "Subsampling::Halved")]
    pub subsampling: Subsampling,
    /// How gradients go back.
    #[config(default = "JpegBackward::Linear")]
    pub backward: JpegBackward,
}

impl Preprocess for Jpeg {
    fn name(&self) -> String {
        "JPEG".into()
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter::new("quality", "from 1 to 100", (1..=100).contains(&self.quality), self.quality)]
    }

    fn is_random(&self) -> bool {
        false
    }

    fn apply(&self, images: Tensor<4>, _: &ImageDraws) -> Tensor<4> {
        jpeg(images, self.quality, self.subsampling)
    }

    fn backward(&self) -> Backward {
        let (tables, halve) = (Tables::of(self.quality), self.subsampling == Subsampling::Halved);
        match self.backward {
            JpegBackward::Cubic => Backward::stand_in(move |images, _| smooth(images, &tables, halve, cubic)),
            JpegBackward::Linear => {
                Backward::stand_in(move |images, _| smooth(images, &tables, halve, |c| c))
            }
            JpegBackward::Identity => Backward::Identity,
        }
    }
}
