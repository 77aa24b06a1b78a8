//! Functions from images to images.

use std::sync::Arc;

use burn::tensor::Tensor;
use serde::{Serialize, Serializer};

/// A differentiable function from images to images of the same shape, with its name: a squeezer, a denoiser,
/// an autoencoder.
///
/// The gradient is the function's own, so that a step without a useful one needs a stand-in, here the
/// identity:
///
/// ```
/// use histoguard::defense::detector::ImageMap;
/// use histoguard::prelude::*;
///
/// let one_bit = ImageMap::new("1 bit", |x: Tensor<4>| x.clone() + (x.clone().round() - x).detach());
/// let grey = Tensor::<4>::full([1, 1, 1, 1], 0.7, &Device::default());
/// assert_eq!(one_bit.apply(grey).into_scalar::<f32>(), 1.0);
/// ```
#[derive(Clone)]
pub struct ImageMap {
    name: String,
    function: Arc<dyn Fn(Tensor<4>) -> Tensor<4> + Send + Sync>,
}

impl ImageMap {
    /// This function, from images `[batch, channels, height, width]` in \[0,1\] to others of that shape, each
    /// from its own image alone. The name tells it from others in reports.
    pub fn new(
        name: impl Into<String>,
        function: impl Fn(Tensor<4>) -> Tensor<4> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), function: Arc::new(function) }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The function's images.
    ///
    /// # Shapes
    ///
    /// - `images`, output: `[batch, channels, height, width]`
    ///
    /// # Panics
    ///
    /// Panics if the function changes the shape.
    pub fn apply(&self, images: Tensor<4>) -> Tensor<4> {
        let shape = images.dims();
        let mapped = (self.function)(images);
        assert_eq!(mapped.dims(), shape, "{}: images of the same shape", self.name);
        mapped
    }
}

impl std::fmt::Debug for ImageMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ImageMap").field(&self.name).finish()
    }
}

/// Its name.
impl Serialize for ImageMap {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.name.serialize(to)
    }
}
