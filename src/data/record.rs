//! What travels beside a checkpoint: which images it was trained on.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DataError, ImageDigest, ImageSet, Split, SplitMethod, SplitRecord};
use crate::file::{IoError, write_whole};

/// Which images a classifier was trained on, by their content, to be kept beside its weights: whoever judges
/// the classifier later can tell the images that it has seen from those that it has not, under any name, in
/// any file format, and after any other split.
///
/// ```
/// use histoguard::data::{Split, SyntheticTissue, TrainingRecord};
///
/// let images = SyntheticTissue { count_per_class: 10, ..SyntheticTissue::default() }.images()?;
/// let split = Split::by_image(&images, [0.6, 0.2, 0.2], 0)?;
/// let folder = tempfile::tempdir().expect("a folder");
/// let checkpoint = folder.path().join("model.safetensors");
/// TrainingRecord::of(&split)?.write_beside(&checkpoint)?;
///
/// // Later: another seed makes another split, whose test images were trained on.
/// let record = TrainingRecord::read_beside(&checkpoint)?.expect("written above");
/// let other = Split::by_image(&images, [0.6, 0.2, 0.2], 1)?;
/// let seen = record.seen(&other.test)?;
/// assert!(!seen.trained_on.is_empty(), "{seen}");
/// // The record gives its own split back.
/// let again = record.split(&images)?;
/// assert!(record.seen(&again.test)?.is_clean());
/// assert_eq!(again.test.len(), split.test.len());
/// # Ok::<(), histoguard::data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// The classes in the order of the classifier's outputs.
    pub classes: Vec<String>,
    /// How the images were shared out, if by a [`Split`].
    pub split: Option<SplitRecord>,
    /// Images whose gradients moved the weights.
    pub train: BTreeSet<ImageDigest>,
    /// Images that the epoch was chosen on.
    pub validation: BTreeSet<ImageDigest>,
    /// What else a program wants to find again, such as its options; not looked at here.
    #[serde(default)]
    pub settings: Value,
}

/// Images of a set that a classifier has seen before, by their names in the set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenImages {
    /// Number of images in the set.
    pub images: usize,
    /// Images that it was trained on.
    pub trained_on: Vec<String>,
    /// Further images that its epoch was chosen on.
    pub validated_on: Vec<String>,
}

impl TrainingRecord {
    /// The record of these images; those that have not been read are.
    ///
    /// # Errors
    ///
    /// [`DataError::Classes`] if the two sets have other classes, and of an image that cannot be read.
    pub fn new(train: &ImageSet, validation: &ImageSet) -> Result<Self, DataError> {
        same_classes("validation images", train.classes(), validation.classes())?;
        Ok(Self {
            classes: train.classes().to_vec(),
            split: None,
            train: train.digests()?.into_iter().collect(),
            validation: validation.digests()?.into_iter().collect(),
            settings: Value::Null,
        })
    }

    /// The record of a split's training and validation images.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of(split: &Split) -> Result<Self, DataError> {
        Ok(Self { split: Some(split.record().clone()), ..Self::new(&split.train, &split.validation)? })
    }

    /// The same with these settings.
    #[must_use]
    pub fn with_settings(self, settings: Value) -> Self {
        Self { settings, ..self }
    }

    /// Where the record of a checkpoint lies: `model.images.json` beside `model.safetensors`.
    pub fn beside(checkpoint: impl AsRef<Path>) -> PathBuf {
        checkpoint.as_ref().with_extension("images.json")
    }

    /// Writes the record beside a checkpoint, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] if it cannot be written.
    pub fn write_beside(&self, checkpoint: impl AsRef<Path>) -> Result<(), DataError> {
        let path = Self::beside(checkpoint);
        let text = serde_json::to_vec_pretty(self).expect("plain data serialises");
        Ok(write_whole(&path, &text).map_err(IoError::at(&path, "a file that can be written"))?)
    }

    /// The record beside a checkpoint, if there is one.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] if it cannot be read, [`DataError::Record`] if the file is something else.
    pub fn read_beside(checkpoint: impl AsRef<Path>) -> Result<Option<Self>, DataError> {
        let path = Self::beside(checkpoint);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| DataError::Record { path, found: error.to_string() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IoError::at(&path, "a readable record of training images")(error).into()),
        }
    }

    /// The images of both, for several classifiers that are to be judged on the same images.
    ///
    /// # Errors
    ///
    /// [`DataError::Classes`] if they have other classes.
    pub fn joined(mut self, other: &Self) -> Result<Self, DataError> {
        same_classes("another record of training images", &self.classes, &other.classes)?;
        self.train.extend(&other.train);
        self.validation.extend(&other.validation);
        Ok(self)
    }

    /// Which of these images the classifier has seen; those that have not been read are.
    ///
    /// # Errors
    ///
    /// [`DataError::Classes`] if the set has other classes, and of an image that cannot be read.
    pub fn seen(&self, images: &ImageSet) -> Result<SeenImages, DataError> {
        same_classes(images.origin(), &self.classes, images.classes())?;
        let [trained_on, validated_on, _] = self
            .sides(images)?
            .map(|side| side.into_iter().map(|position| images.samples()[position].name.clone()).collect());
        Ok(SeenImages { images: images.len(), trained_on, validated_on })
    }

    /// The recorded split of these images: what was trained on to training, what the epoch was chosen on to
    /// validation, and everything that the classifier has not seen to test.
    ///
    /// # Errors
    ///
    /// As [`seen`](Self::seen), and [`DataError::EmptyClass`] if a class has no image that was not seen.
    pub fn split(&self, images: &ImageSet) -> Result<Split, DataError> {
        same_classes(images.origin(), &self.classes, images.classes())?;
        let seed = self.split.as_ref().map_or(0, |split| split.seed);
        let split = Split::of_sides(images, self.sides(images)?, SplitMethod::Record, seed);
        split.check_sides(images, &["test"], |sample| &sample.name)?;
        Ok(split)
    }

    /// Positions of the images trained on, validated on, and not seen.
    fn sides(&self, images: &ImageSet) -> Result<[Vec<usize>; 3], DataError> {
        let mut sides: [Vec<usize>; 3] = Default::default();
        for (position, digest) in images.digests()?.into_iter().enumerate() {
            let side = match (self.train.contains(&digest), self.validation.contains(&digest)) {
                (true, _) => 0,
                (false, true) => 1,
                (false, false) => 2,
            };
            sides[side].push(position);
        }
        Ok(sides)
    }
}

impl SeenImages {
    /// Whether the classifier has seen none of them.
    pub fn is_clean(&self) -> bool {
        self.trained_on.is_empty() && self.validated_on.is_empty()
    }
}

impl fmt::Display for SeenImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |names: &[String]| {
            let first = names.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
            match names.len() {
                0 => String::new(),
                1..=3 => format!(" ({first})"),
                more => format!(" ({first} and {} more)", more - 3),
            }
        };
        let Self { images, trained_on, validated_on } = self;
        write!(f, "{} of {images} test images were trained on{}", trained_on.len(), some(trained_on))?;
        if !validated_on.is_empty() {
            write!(f, ", the epoch was chosen on {} more{}", validated_on.len(), some(validated_on))?;
        }
        Ok(())
    }
}

fn same_classes(what: &str, expected: &[String], found: &[String]) -> Result<(), DataError> {
    if expected == found {
        return Ok(());
    }
    Err(DataError::Classes { what: what.to_string(), expected: expected.to_vec(), found: found.to_vec() })
}
