//! Images to begin with.

use serde::{Deserialize, Serialize};

use crate::attack::prelude::*;
use crate::random::split_mix;

const NOISE: &str = "noise";

/// Where [`HopSkipJump`](super::HopSkipJump) begins: at noise, or at the nearest of some images that reaches the goal, with noise
/// for those that none does.
///
/// In JSON images are their number and a hash, which tell them from others but do not bring them back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Starts(pub(super) Option<Tensor<4>>);

impl Starts {
    /// Uniform noise.
    pub fn noise() -> Self {
        Self(None)
    }

    /// Images `[any, channels, height, width]`, such as some of each class. One query each for every call of
    /// [`perturb`](crate::attack::Attack::perturb), beside those of [`queries`](super::HopSkipJump::queries).
    pub fn images(images: Tensor<4>) -> Self {
        Self(Some(images.inner()))
    }

    /// Number of images.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(0, |images| images.dims()[0])
    }

    pub(super) fn parameter(&self, task: &Task<'_>) -> Parameter {
        let (mut fits, mut found) = (true, "noise".into());
        if let Some(images) = &self.0 {
            let outside = values(images.clone()).into_iter().find(|value| !(0.0..=1.0).contains(value));
            let [count, shape @ ..] = images.dims();
            fits = count >= 1 && shape == task.shape() && outside.is_none();
            found = outside.map_or_else(|| format!("{:?}", images.dims()), |value| value.to_string());
        }
        Parameter::new("starts", "images of the same shape, values from 0 to 1", fits, found)
    }
}

impl From<Starts> for String {
    fn from(Starts(images): Starts) -> Self {
        let Some(images) = images else { return NOISE.into() };
        let dims = images.dims();
        let bits = values(images).into_iter().map(|value| u64::from(value.to_bits()));
        let parts = dims.map(|dim| dim as u64).into_iter().chain(bits);
        let hash = parts.fold(0, |hash, part| split_mix(hash ^ part));
        format!("{} images, {hash:016x}", dims[0])
    }
}

impl TryFrom<String> for Starts {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        match written.as_str() {
            NOISE => Ok(Self::noise()),
            images => Err(format!("starts: {images} are not in the settings")),
        }
    }
}
