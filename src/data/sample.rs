//! One labelled image: where it comes from and what it shares with others.

use std::path::PathBuf;
use std::sync::Arc;

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
}

impl Sample {
    /// An image that shares its slide with no other. The set that takes it in gives it its index.
    pub fn new(source: impl Source + 'static, label: usize, name: impl Into<String>) -> Self {
        let (source, name) = (Arc::new(source), name.into());
        Self { source, label, group: name.clone(), stem: name.clone(), name, index: 0 }
    }

    /// The same image, from this slide of this patient.
    #[must_use]
    pub fn from_slide(self, group: impl Into<String>, stem: impl Into<String>) -> Self {
        Self { group: group.into(), stem: stem.into(), ..self }
    }

    /// The file, or the name of an image without one.
    pub(crate) fn path(&self) -> PathBuf {
        self.source.path().map_or_else(|| PathBuf::from(&self.name), PathBuf::from)
    }
}
