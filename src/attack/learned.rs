//! A learned attack out of a file, whatever it is.

use std::path::Path;

use burn::tensor::Device;

use super::generative::{GeneratedImage, GeneratedPerturbation, Natural, same_shape};
use super::stored::{StoredError, kind_of};
use super::universal::{Patch, UniversalPerturbation};
use super::{Attack, AttackError};
use crate::classifier::FrozenFeatures;

/// A learned attack out of a file.
#[derive(Clone, Debug)]
pub enum Learned {
    /// A perturbation that is added to every image.
    Universal(UniversalPerturbation),
    /// A patch that is laid on every image.
    Patch(Box<Patch>),
    /// A perturbation of each image's own.
    Generated(GeneratedPerturbation),
    /// An image out of a network's features.
    Image(GeneratedImage),
    /// An image out of a code near that of an image.
    Natural(Box<Natural>),
}

impl Learned {
    /// Reads what [`UniversalPerturbation::save`], [`Patch::save`], [`GeneratedPerturbation::save`],
    /// [`GeneratedImage::save`] or [`Natural::save`] wrote; an image out of features with those that it was
    /// learned from, which have to be among these.
    ///
    /// # Errors
    ///
    /// [`StoredError`] on a file that cannot be read, is of another kind, or is refused by the kind that it
    /// is of.
    pub fn load(
        path: impl AsRef<Path>,
        device: &Device,
        features: &[FrozenFeatures],
    ) -> Result<Self, StoredError> {
        let path = path.as_ref();
        match kind_of(path)?.as_str() {
            Patch::KIND => Patch::load(path, device).map(|patch| Self::Patch(Box::new(patch))),
            GeneratedPerturbation::KIND => GeneratedPerturbation::load(path, device).map(Self::Generated),
            GeneratedImage::KIND => {
                let mut found =
                    Err(StoredError::format(path, "a network whose features it was learned from", "none"));
                for features in features {
                    found = GeneratedImage::load(path, features);
                    if found.is_ok() {
                        break;
                    }
                }
                found.map(Self::Image)
            }
            Natural::KIND => Natural::load(path, device).map(|attack| Self::Natural(Box::new(attack))),
            UniversalPerturbation::KIND => UniversalPerturbation::load(path, device).map(Self::Universal),
            kind => Err(StoredError::format(path, "an attack that was learned", format!("a {kind}"))),
        }
    }

    /// Whether the attack in this file looks at the features of a network, without which it cannot be loaded.
    ///
    /// # Errors
    ///
    /// [`StoredError`] on a file that cannot be read, or that this crate did not write.
    pub fn needs_features(path: impl AsRef<Path>) -> Result<bool, StoredError> {
        Ok(kind_of(path.as_ref())? == GeneratedImage::KIND)
    }

    /// It as an attack on images of these channels, height and width.
    ///
    /// # Errors
    ///
    /// [`AttackError::Parameter`] if a patch has other channels, or if its location lies outside; of the others
    /// on images of another shape than they were learned from.
    pub fn for_images(self, image: [usize; 3]) -> Result<Box<dyn Attack>, AttackError> {
        match &self {
            Self::Universal(attack) => same_shape(attack.shape(), image).check()?,
            Self::Generated(attack) => same_shape(attack.shape(), image).check()?,
            Self::Image(attack) => same_shape(attack.shape(), image).check()?,
            Self::Natural(attack) => same_shape(attack.shape(), image).check()?,
            Self::Patch(_) => {}
        }
        Ok(match self {
            Self::Universal(attack) => Box::new(attack),
            Self::Patch(attack) => Box::new(attack.for_images(image)?),
            Self::Generated(attack) => Box::new(attack),
            Self::Image(attack) => Box::new(attack),
            Self::Natural(attack) => attack,
        })
    }
}
