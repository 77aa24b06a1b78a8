//! One folder a class: chest X-rays and most other public image sets.

use std::path::{Path, PathBuf};

use super::walk::{Entry, IMAGE_ENDINGS, list};
use super::{DataError, FileImage, ImageSet, OnError, Sample, Skipped};

/// How to open a [`FolderSet`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FolderOptions {
    on_error: OnError,
}

/// Images in one folder a class, `root/<class>/<image>`; the classes are the folder names in sorted order.
///
/// Grey images become three equal channels when they are read. Images are their own group: nothing says
/// which of them share a patient.
///
/// ```no_run
/// use histoguard::data::FolderSet;
///
/// let chest = FolderSet::open("chest_xray/train")?.all();
/// assert_eq!(chest.classes(), ["NORMAL", "PNEUMONIA"]);
/// # Ok::<(), histoguard::data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FolderSet {
    images: ImageSet,
    skipped: Vec<Skipped>,
}

impl FolderOptions {
    /// What happens with a file or folder that does not belong here. Default: [`OnError::Fail`].
    #[must_use]
    pub fn on_error(self, on_error: OnError) -> Self {
        Self { on_error }
    }

    pub(super) fn policy(self) -> OnError {
        self.on_error
    }

    /// Lists the images below `root`; none is read.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the root cannot be read, has fewer than two class folders, a class has no image, or
    /// the folders are the sides of a split (see [`FolderSplit`](super::FolderSplit));
    /// with [`OnError::Fail`] also on an empty file, a file that is no PNG, JPEG, TIFF or BMP by its ending,
    /// and a folder inside a class.
    pub fn open(self, root: impl AsRef<Path>) -> Result<FolderSet, DataError> {
        let root = root.as_ref();
        let mut skipped = Vec::new();
        let sides = sides(root, self.on_error)?;
        if !sides.is_empty() {
            let names: Vec<String> = sides.into_iter().map(|(_, entry)| entry.name).collect();
            let found = format!(
                "the sides of a split, {}; open the folder of one side, or all sides with FolderSplit",
                names.join(", ")
            );
            return Err(wrong(root, "a folder for each class", &found));
        }
        let (classes, samples) = self.classes(root, "", &mut skipped)?;
        let mut images = ImageSet::new(root.display().to_string(), classes, samples)?;
        if !skipped.is_empty() {
            images = images.with_note(format!("{} unusable files skipped", skipped.len()));
        }
        Ok(FolderSet { images, skipped })
    }

    /// The class folders below `root` and their images, whose names begin with `prefix`.
    pub(super) fn classes(
        self,
        root: &Path,
        prefix: &str,
        skipped: &mut Vec<Skipped>,
    ) -> Result<(Vec<String>, Vec<Sample>), DataError> {
        let (mut classes, mut samples) = (Vec::new(), Vec::new());
        for entry in list(root, self.on_error, skipped)? {
            if entry.is_folder {
                let name = format!("{prefix}{}", entry.name);
                self.class(&entry.path, &name, classes.len(), &mut samples, skipped)?;
                classes.push(entry.name);
            } else if entry.has_image_ending() {
                let error = wrong(&entry.path, "images inside class folders", "one beside them");
                self.on_error.handle(&entry.path, error, skipped)?;
            }
        }
        if classes.len() < 2 {
            let found = format!("{} folders", classes.len());
            return Err(wrong(root, "a folder for each of at least two classes", &found));
        }
        Ok((classes, samples))
    }

    fn class(
        self,
        folder: &Path,
        class: &str,
        label: usize,
        samples: &mut Vec<Sample>,
        skipped: &mut Vec<Skipped>,
    ) -> Result<(), DataError> {
        let before = samples.len();
        for entry in list(folder, self.on_error, skipped)? {
            if entry.is_folder {
                let error = wrong(&entry.path, "only images in a class folder", "a folder");
                self.on_error.handle(&entry.path, error, skipped)?;
            } else if !entry.has_image_ending() {
                let error = wrong(&entry.path, &image_file(), &format!("{:?}", entry.name));
                self.on_error.handle(&entry.path, error, skipped)?;
            } else if entry.bytes == 0 {
                let path: PathBuf = entry.path.clone();
                self.on_error.handle(&entry.path, DataError::EmptyFile { path }, skipped)?;
            } else {
                let name = format!("{class}/{}", entry.name);
                samples.push(Sample::new(FileImage(entry.path), label, name));
            }
        }
        if samples.len() == before {
            let expected = format!("images of class {class} ({})", image_file());
            return Err(DataError::NoImages { path: folder.to_path_buf(), expected });
        }
        Ok(())
    }
}

impl FolderSet {
    /// Lists the images below `root`, stopping at the first file that does not belong there.
    ///
    /// # Errors
    ///
    /// As [`FolderOptions::open`] with [`OnError::Fail`].
    pub fn open(root: impl AsRef<Path>) -> Result<Self, DataError> {
        Self::options().open(root)
    }

    /// Options other than the default ones.
    pub fn options() -> FolderOptions {
        FolderOptions::default()
    }

    /// All images, sorted by class and name.
    pub fn all(&self) -> ImageSet {
        self.images.clone()
    }

    /// What was left out under [`OnError::Skip`].
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

/// The folders below `root` that are sides of a split by their names, with 0 for training, 1 for validation
/// and 2 for test; none if there is no more than one and it holds no folders: a class may be called `train`,
/// too.
pub(super) fn sides(root: &Path, on_error: OnError) -> Result<Vec<(usize, Entry)>, DataError> {
    // What is left out is told by the listing that takes the images in.
    let mut told = Vec::new();
    let folders = list(root, on_error, &mut told)?.into_iter().filter(|entry| entry.is_folder);
    let sides: Vec<(usize, Entry)> = folders.filter_map(|entry| Some((side(&entry.name)?, entry))).collect();
    let [(_, only)] = sides.as_slice() else { return Ok(sides) };
    let holds_folders = list(&only.path, on_error, &mut told)?.iter().any(|entry| entry.is_folder);
    Ok(if holds_folders { sides } else { Vec::new() })
}

fn side(name: &str) -> Option<usize> {
    match name.to_lowercase().as_str() {
        "train" | "training" => Some(0),
        "val" | "valid" | "validation" => Some(1),
        "test" | "testing" => Some(2),
        _ => None,
    }
}

pub(super) fn wrong(path: &Path, expected: &str, found: &str) -> DataError {
    DataError::Name { path: path.to_path_buf(), expected: expected.to_string(), found: found.to_string() }
}

fn image_file() -> String {
    format!("an image file ending in {}", IMAGE_ENDINGS.join(", "))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn classes_are_the_sorted_folder_names() {
        let root = tree(&[("b/2.png", "x"), ("b/1.jpeg", "x"), ("a/9.BMP", "x"), ("LICENSE.txt", "x")]);
        let set = FolderSet::open(root.path()).unwrap().all();
        assert_eq!(set.classes(), ["a", "b"]);
        let listed: Vec<(&str, usize, u64)> =
            set.samples().iter().map(|s| (s.name.as_str(), s.label, s.index)).collect();
        assert_eq!(listed, [("a/9.BMP", 0, 0), ("b/1.jpeg", 1, 1), ("b/2.png", 1, 2)]);
    }

    #[test]
    fn what_does_not_belong_is_an_error_or_counted() {
        let root = tree(&[
            ("a/1.png", "x"),
            ("b/1.png", "x"),
            ("b/2.png", ""),
            ("b/notes.txt", "x"),
            ("a/c/3.png", "x"),
        ]);
        let error = FolderSet::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("expected only images in a class folder, found a folder"), "{error}");
        let set = FolderSet::options().on_error(OnError::Skip).open(root.path()).unwrap();
        assert_eq!((set.all().len(), set.skipped().len()), (2, 3));
        assert!(set.skipped()[1].reason.ends_with("2.png: expected an image, found an empty file"));
    }

    #[test]
    fn empty_classes_are_errors_under_every_policy() {
        let root = tree(&[("a/1.png", "x"), ("b/2.png", "")]);
        let error = FolderSet::options().on_error(OnError::Skip).open(root.path()).unwrap_err().to_string();
        assert!(error.contains("images of class b"), "{error}");
        let root = tree(&[("a/1.png", "x")]);
        let error = FolderSet::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("at least two classes, found 1 folders"), "{error}");
    }
}
