//! The trait that every detector implements.

use std::fmt::Debug;

use burn::tensor::Tensor;
use serde::{Serialize, Serializer};

use crate::attack::Settings;

/// Scores images by how suspicious they are: object-safe, fitted beforehand if at all, without a threshold of
/// its own.
///
/// ```
/// use histoguard::defense::detector::Detector;
/// use histoguard::prelude::*;
/// use serde::Serialize;
///
/// /// The total variation along rows: noise raises it.
/// #[derive(Debug, Serialize)]
/// struct Roughness;
///
/// impl Detector for Roughness {
///     fn name(&self) -> String {
///         "roughness".into()
///     }
///
///     fn score(&self, images: Tensor<4>) -> Tensor<1> {
///         let [batch, _, _, width] = images.dims();
///         let steps = images.clone().narrow(3, 1, width - 1) - images.narrow(3, 0, width - 1);
///         steps.abs().mean_dims(&[1, 2, 3]).reshape([batch])
///     }
/// }
///
/// let flat = Tensor::<4>::full([2, 3, 8, 8], 0.5, &Device::default());
/// assert_eq!(Roughness.score(flat).into_data().try_into_vec::<f32>().unwrap(), [0.0, 0.0]);
/// ```
pub trait Detector: Settings + Debug + Send + Sync {
    /// The detector's name in reports.
    fn name(&self) -> String;

    /// One number an image, higher for a more suspicious one.
    ///
    /// It must be differentiable where the images are within autodiff, or the attack that knows the detector
    /// cannot descend it and the detector looks better than it is: where a step has no useful gradient, give
    /// it that of a smooth stand-in (BPDA: Athalye, Carlini & Wagner, ICML 2018). An image's score depends on
    /// that image alone, not on its neighbours.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`, values in \[0,1\], plain or within autodiff
    /// - output: `[batch]`
    fn score(&self, images: Tensor<4>) -> Tensor<1>;
}

/// Name and settings.
impl Serialize for dyn Detector + '_ {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        serde_json::json!({ "detector": self.name(), "settings": self.settings() }).serialize(to)
    }
}
