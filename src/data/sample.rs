//! One labelled image: where it comes from and what it shares with others.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use image::RgbImage;

use super::digest::ImageDigest;
use super::error::DataError;
use super::source::Source;

/// A labelled image of an [`ImageSet`](super::ImageSet).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// Where its pixels come from.
    pub source: Arc<dyn Source>,
    /// Its class, a position in the set's list of classes.
    pub label: usize,
    /// Its slide; images without one are their own group.
    pub group: String,
    /// The part of the slide's name that slides of one patient share; the group where there is no such part.
    pub stem: String,
    /// Its name, unique in its set: the file name, or the path below the class folders' parent.
    pub name: String,
    /// Its place in the set that was opened; stays the same in every subset. Source of its randomness.
    pub index: u64,
    digest: Arc<OnceLock<ImageDigest>>,
}

impl Sample {
    /// An image that shares its slide with no other. The set that takes it in gives it its index.
    pub fn new(source: impl Source + 'static, label: usize, name: impl Into<String>) -> Self {
        let (source, name) = (Arc::new(source), name.into());
        Self {
            source,
            label,
            group: name.clone(),
            stem: name.clone(),
            name,
            index: 0,
            digest: Arc::default(),
        }
    }

    /// The same image, from this slide of this patient.
    #[must_use]
    pub fn from_slide(self, group: impl Into<String>, stem: impl Into<String>) -> Self {
        Self { group: group.into(), stem: stem.into(), ..self }
    }

    /// What the image holds. It is read for this once; the set's copies and subsets remember.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the image cannot be read.
    pub fn digest(&self) -> Result<ImageDigest, DataError> {
        match self.digest.get() {
            Some(digest) => Ok(*digest),
            None => Ok(self.remember(&*self.source.load()?)),
        }
    }

    /// The digest of this image, which is the sample's.
    pub(crate) fn remember(&self, image: &RgbImage) -> ImageDigest {
        *self.digest.get_or_init(|| ImageDigest::of(image))
    }

    /// The same as a member of a set, whose source may be another than it was when its digest was taken.
    pub(crate) fn at(self, index: u64) -> Self {
        Self { index, digest: Arc::default(), ..self }
    }

    /// The file, or the name of an image without one.
    pub(crate) fn path(&self) -> PathBuf {
        self.source.path().map_or_else(|| PathBuf::from(&self.name), PathBuf::from)
    }
}
