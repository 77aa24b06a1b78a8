//! A preprocessing from a closure.

use std::fmt;
use std::sync::Arc;

use burn::tensor::Tensor;
use serde::Serialize;

use super::{Backward, ImageDraws, ImageFunction, Preprocess};
use crate::parameter::Parameter;

/// A preprocessing from a closure of one's own; reports know it by its name alone.
///
/// ```
/// use histoguard::defense::{Backward, Custom, Preprocess};
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| x.mean_dims(&[2, 3]).reshape([-1, 2]));
/// // Steep, but smooth for the attacker.
/// let contrast = Custom::new(
///     "Contrast",
///     |x| ((x - 0.5) * 100.0 + 0.5).clamp(0.0, 1.0),
///     Backward::stand_in(|x, _| (x - 0.5) * 4.0),
/// );
/// let defended = contrast.before(victim)?;
/// # Ok::<(), histoguard::defense::DefenseError>(())
/// ```
#[derive(Clone, Serialize)]
pub struct Custom {
    name: String,
    #[serde(skip)]
    random: bool,
    #[serde(skip)]
    function: Arc<ImageFunction>,
    #[serde(skip)]
    backward: Backward,
}

impl Custom {
    /// This function of images `[batch, channels, height, width]`, which draws no random numbers.
    pub fn new(
        name: impl Into<String>,
        function: impl Fn(Tensor<4>) -> Tensor<4> + Send + Sync + 'static,
        backward: Backward,
    ) -> Self {
        let function = Arc::new(move |images: Tensor<4>, _: &ImageDraws| function(images));
        Self { name: name.into(), random: false, function, backward }
    }

    /// This function of images `[batch, channels, height, width]` and of random numbers, a generator an
    /// image.
    pub fn random(
        name: impl Into<String>,
        function: impl Fn(Tensor<4>, &ImageDraws) -> Tensor<4> + Send + Sync + 'static,
        backward: Backward,
    ) -> Self {
        Self { name: name.into(), random: true, function: Arc::new(function), backward }
    }
}

impl Preprocess for Custom {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    fn is_random(&self) -> bool {
        self.random
    }

    fn apply(&self, images: Tensor<4>, draws: &ImageDraws) -> Tensor<4> {
        (self.function)(images, draws)
    }

    fn backward(&self) -> Backward {
        self.backward.clone()
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, random, backward, .. } = self;
        f.debug_struct("Custom")
            .field("name", name)
            .field("random", random)
            .field("backward", backward)
            .finish()
    }
}
