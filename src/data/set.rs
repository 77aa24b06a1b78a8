//! A list of labelled images, cheap to clone and to take subsets of.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::sample::Sample;
use super::{DataError, ImageDigest, OnError, Skipped};

/// Labelled images, not yet read: what [`BreakHis`](super::BreakHis), [`FolderSet`](super::FolderSet) and
/// [`SyntheticTissue`](super::SyntheticTissue) give, and what a [`Split`](super::Split) shares out.
///
/// ```
/// use std::sync::Arc;
/// use histoguard::data::{ImageSet, MemoryImage, Sample};
///
/// let grey = MemoryImage(Arc::new(image::RgbImage::new(8, 8)));
/// let samples = vec![Sample::new(grey.clone(), 0, "a"), Sample::new(grey, 1, "b")];
/// let set = ImageSet::new("my images", vec!["cat".into(), "dog".into()], samples)?;
/// assert_eq!(set.describe(), "my images: 2 images (1 cat, 1 dog)");
/// # Ok::<(), histoguard::data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ImageSet {
    id: u64,
    origin: Arc<str>,
    classes: Arc<[String]>,
    samples: Arc<[Sample]>,
    notes: Arc<[String]>,
}

impl ImageSet {
    /// Images of these classes; each one's index becomes its position in `samples`. `origin` says in reports
    /// where the images are from.
    ///
    /// # Errors
    ///
    /// [`DataError::Labels`] if a label has no class or two images share a name.
    pub fn new(
        origin: impl Into<Arc<str>>,
        classes: Vec<String>,
        samples: Vec<Sample>,
    ) -> Result<Self, DataError> {
        let mut names = HashSet::with_capacity(samples.len());
        for sample in &samples {
            if sample.label >= classes.len() {
                let expected = format!("labels below {}, the number of classes", classes.len());
                return Err(DataError::Labels {
                    expected,
                    found: format!("{} for {}", sample.label, sample.name),
                });
            }
            if !names.insert(sample.name.as_str()) {
                let expected = "a name of its own for every image".to_string();
                return Err(DataError::Labels { expected, found: format!("{} twice", sample.name) });
            }
        }
        drop(names);
        let samples: Vec<Sample> =
            samples.into_iter().enumerate().map(|(index, sample)| sample.at(index as u64)).collect();
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            origin: origin.into(),
            classes: classes.into(),
            samples: samples.into(),
            notes: Arc::new([]),
        })
    }

    /// The same images with another remark for [`describe`](Self::describe).
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes = self.notes.iter().cloned().chain([note.into()]).collect();
        self
    }

    /// The same images under another origin.
    pub(crate) fn with_origin(mut self, origin: impl Into<Arc<str>>) -> Self {
        self.origin = origin.into();
        self
    }

    /// Names of the classes; labels are positions in this list.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The images in order.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Where the images are from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Remarks about what is missing or was left out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether any image was drawn, not photographed.
    pub fn is_synthetic(&self) -> bool {
        self.samples.iter().any(|sample| sample.source.is_synthetic())
    }

    /// Number of images of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for sample in self.samples.iter() {
            counts[sample.label] += 1;
        }
        counts
    }

    /// The images at these positions, in this order; they keep their indices.
    ///
    /// # Panics
    ///
    /// Panics if a position is past the end.
    #[must_use]
    pub fn subset(&self, positions: &[usize]) -> Self {
        let samples = positions.iter().map(|&position| self.samples[position].clone()).collect();
        Self { samples, ..self.clone() }
    }

    /// One line: origin, counts of each class, remarks.
    pub fn describe(&self) -> String {
        let counts = self.class_counts();
        let counts: Vec<String> =
            self.classes.iter().zip(counts).map(|(class, count)| format!("{count} {class}")).collect();
        let mut line = format!("{}: {} images ({})", self.origin, self.len(), counts.join(", "));
        for note in self.notes.iter() {
            line.push_str("; ");
            line.push_str(note);
        }
        line
    }

    /// Reads every image once, in parallel, so that a damaged file is known before the work begins. Gives the
    /// images that could be read and the ones left out; where an EXIF orientation is not applied (see
    /// [`exif_orientation`](super::exif_orientation)), a note says to how many.
    ///
    /// # Errors
    ///
    /// With [`OnError::Fail`], the [`DataError`] of the first image that cannot be read.
    pub fn verify(&self, on_error: OnError) -> Result<(Self, Vec<Skipped>), DataError> {
        let read = |sample: &Sample| {
            sample.remember(&*sample.source.load()?);
            Ok(sample.source.ignored_orientation().is_some())
        };
        let results: Vec<Result<bool, DataError>> = self.samples.par_iter().map(read).collect();
        let (mut good, mut skipped, mut turned) = (Vec::with_capacity(self.len()), Vec::new(), 0);
        for (position, result) in results.into_iter().enumerate() {
            match result {
                Ok(is_turned) => {
                    turned += usize::from(is_turned);
                    good.push(position);
                }
                Err(error) => on_error.handle(&self.samples[position].path(), error, &mut skipped)?,
            }
        }
        let set = self.subset(&good);
        let note =
            || format!("{turned} of {} images have an EXIF orientation, which is not applied", set.len());
        Ok((if turned > 0 { set.clone().with_note(note()) } else { set }, skipped))
    }

    /// What each image holds, in order; images that have not been read are, in parallel.
    ///
    /// # Errors
    ///
    /// The [`DataError`] of the first image that cannot be read.
    pub fn digests(&self) -> Result<Vec<ImageDigest>, DataError> {
        let digests: Vec<Result<ImageDigest, DataError>> =
            self.samples.par_iter().map(Sample::digest).collect();
        digests.into_iter().collect()
    }

    /// Tells the images of one opened set from those of another; subsets share it.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;
    use crate::data::{FileImage, MemoryImage};

    fn gray(label: usize, name: &str) -> Sample {
        Sample::new(MemoryImage(Arc::new(RgbImage::new(2, 2))), label, name)
    }

    #[test]
    fn subsets_keep_indices() {
        let classes = vec!["a".to_string(), "b".to_string()];
        let samples = vec![gray(0, "x"), gray(1, "y"), gray(1, "z")];
        let set = ImageSet::new("made up", classes, samples).unwrap().with_note("one remark");
        let subset = set.subset(&[2, 0]).subset(&[0]);
        assert_eq!(subset.samples()[0].index, 2);
        assert_eq!(subset.samples()[0].name, "z");
        assert_eq!(subset.describe(), "made up: 1 images (0 a, 1 b); one remark");
        assert_eq!(subset.id(), set.id());
        assert!(!set.is_synthetic());
    }

    #[test]
    fn wrong_labels_and_names_are_refused() {
        let classes = || vec!["a".to_string()];
        let error = ImageSet::new("", classes(), vec![gray(1, "x")]).unwrap_err().to_string();
        assert_eq!(error, "labels: expected labels below 1, the number of classes, found 1 for x");
        let error = ImageSet::new("", classes(), vec![gray(0, "x"), gray(0, "x")]).unwrap_err().to_string();
        assert_eq!(error, "labels: expected a name of its own for every image, found x twice");
    }

    #[test]
    fn damaged_files_are_found_early() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.png");
        std::fs::write(&path, b"\x89PNG\r\n\x1a\nnothing else").unwrap();
        let samples = vec![gray(0, "good"), Sample::new(FileImage(path.clone()), 0, "broken")];
        let set = ImageSet::new("", vec!["a".into()], samples).unwrap();
        assert!(set.verify(OnError::Fail).unwrap_err().to_string().contains("broken.png"));
        let (left, skipped) = set.verify(OnError::Skip).unwrap();
        assert_eq!((left.len(), skipped.len()), (1, 1));
        assert_eq!(skipped[0].path, path);
    }
}
