//! What can go wrong with images, folders and splits.

use std::path::PathBuf;

use thiserror::Error;

use crate::file::IoError;
use crate::parameter::ParameterError;

/// What went wrong with an image, a folder or a split; it names the path, what was expected and what was
/// found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder could not be read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A file or folder that has no place here, judged by its name.
    #[error("{path}: expected {expected}, found {found}", path = path.display())]
    Name {
        /// The path.
        path: PathBuf,
        /// The names that fit.
        expected: String,
        /// The part of the name that does not.
        found: String,
    },
    /// A file without a byte in it.
    #[error("{path}: expected an image, found an empty file", path = path.display())]
    EmptyFile {
        /// The path.
        path: PathBuf,
    },
    /// A truncated, damaged or oversized image, or not an image at all.
    #[error("{path}: expected {expected}, found: {found}", path = path.display())]
    Image {
        /// The path, or the name of an image in memory.
        path: PathBuf,
        /// What it should have been.
        expected: String,
        /// What the decoder said.
        found: String,
    },
    /// A folder without any image that fits.
    #[error("{path}: expected {expected}, found no such image", path = path.display())]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// The images looked for.
        expected: String,
    },
    /// A set without an image of some class, of which no side of a split can have one.
    #[error("expected images of every class, found none of {missing} in {set}", missing = missing.join(", "))]
    NoneOfClass {
        /// The classes without an image.
        missing: Vec<String>,
        /// The set, as it describes itself.
        set: String,
    },
    /// Images of other classes than those they are to go with, or of the same ones in another order.
    #[error("{what}: expected the classes {expected:?}, found {found:?}")]
    Classes {
        /// Whose classes.
        what: String,
        /// The classes that would fit, in their order.
        expected: Vec<String>,
        /// The classes there.
        found: Vec<String>,
    },
    /// A file that is no [`TrainingRecord`](super::TrainingRecord).
    #[error("{path}: expected a record of training images, found: {found}", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        found: String,
    },
    /// Text that is no [`ImageDigest`](super::ImageDigest).
    #[error("digest of an image: expected 32 hexadecimal digits, found {found:?}")]
    Digest {
        /// The text.
        found: String,
    },
    /// A class without an image on one side of a split.
    #[error(
        "{side}: expected at least one image of class {class}, found none \
         ({images} images in {groups} groups to share out)"
    )]
    EmptyClass {
        /// The side: train, validation or test.
        side: &'static str,
        /// The class.
        class: String,
        /// Images of the class on all sides together.
        images: usize,
        /// Groups (images, slides or stems) of the class on all sides together.
        groups: usize,
    },
    /// A fold file that does not say what it should.
    #[error("{path}, line {line}: expected {expected}, found {found}", path = path.display())]
    FoldFile {
        /// The file.
        path: PathBuf,
        /// Line number from 1; 0 for the file as a whole.
        line: usize,
        /// What the line should hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// A parameter out of its documented range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// Labels that do not fit their images or classes.
    #[error("labels: expected {expected}, found {found}")]
    Labels {
        /// What would fit.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A data set that lacks images or has others.
    #[cfg(feature = "download")]
    #[error("{path}: expected {expected}, found {found}", path = path.display())]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// The published numbers.
        expected: String,
        /// The numbers there.
        found: String,
    },
    /// A download or an archive that failed.
    #[cfg(feature = "download")]
    #[error(transparent)]
    Download(#[from] crate::download::DownloadError),
}
