//! MagNet's reformer.

use crate::classifier::Frozen;
use crate::defense::detector::image_map::ImageMap;

/// The classifier of reformed images: `f(clip(AE(x)))`, which an attack goes through with the gradient of
/// both.
///
/// Meng & Chen, CCS 2017, section 4.3.
///
/// ```
/// use histoguard::defense::detector::{ImageMap, reformed};
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let bright = Frozen::from_fn(1, &device, |x| x.mean_dims(&[1, 2, 3]).reshape([-1, 1]));
/// let half = ImageMap::new("half", |x| x * 0.5);
/// let logits = reformed(bright, half).logits(Tensor::ones([1, 1, 2, 2], &device));
/// assert_eq!(logits.into_scalar::<f32>(), 0.5);
/// ```
pub fn reformed(classifier: Frozen, autoencoder: ImageMap) -> Frozen {
    classifier.behind(move |images| autoencoder.apply(images).clamp(0.0, 1.0))
}
