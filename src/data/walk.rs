//! Listing folders in an order that no file system changes.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DataError, OnError, Skipped};
use crate::file::IoError;

/// Endings of the image files that can be decoded, in lower case.
pub(crate) const IMAGE_ENDINGS: [&str; 6] = ["png", "jpg", "jpeg", "tif", "tiff", "bmp"];

/// Deepest folder below the root that is looked into; ends walks through circular links.
const MAX_DEPTH: usize = 16;

/// A file or folder, with its links followed.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) is_folder: bool,
    pub(crate) bytes: u64,
}

impl Entry {
    /// Whether the file's ending is one of an image.
    pub(crate) fn has_image_ending(&self) -> bool {
        let ending = self.path.extension().map(|e| e.to_string_lossy().to_lowercase());
        ending.is_some_and(|ending| IMAGE_ENDINGS.contains(&ending.as_str()))
    }
}

/// Files and folders right below `folder`, sorted by name, without hidden and system ones.
pub(crate) fn list(
    folder: &Path,
    on_error: OnError,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Entry>, DataError> {
    let failed = IoError::at(folder, "a readable folder");
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if is_system(&name) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(meta) => found.push(Entry { is_folder: meta.is_dir(), bytes: meta.len(), path, name }),
            Err(error) => {
                let error = IoError::at(&path, "a readable file or folder")(error);
                on_error.handle(&path, error.into(), skipped)?;
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// All files below `root`, in the order of their paths.
pub(crate) fn walk(
    root: &Path,
    on_error: OnError,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Entry>, DataError> {
    let mut files = Vec::new();
    let mut waiting: Vec<(Entry, usize)> = Vec::new();
    // A root that cannot be read is an error under every policy: there would be nothing left to work on.
    waiting.extend(list(root, on_error, skipped)?.into_iter().rev().map(|entry| (entry, 1)));
    while let Some((entry, depth)) = waiting.pop() {
        if !entry.is_folder {
            files.push(entry);
        } else if depth < MAX_DEPTH {
            match list(&entry.path, on_error, skipped) {
                Ok(below) => waiting.extend(below.into_iter().rev().map(|entry| (entry, depth + 1))),
                Err(error) => on_error.handle(&entry.path, error, skipped)?,
            }
        }
    }
    Ok(files)
}

/// Hidden files and what file managers leave behind.
fn is_system(name: &str) -> bool {
    name.starts_with('.') || ["__MACOSX", "Thumbs.db", "desktop.ini"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_sorted_and_without_system_files() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b/z.png", "b/a.png", "a.JPG", ".DS_Store", "__MACOSX/x.png", "c.txt"] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let files = walk(root.path(), OnError::Fail, &mut Vec::new()).unwrap();
        let names: Vec<&str> = files.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["a.JPG", "a.png", "z.png", "c.txt"]);
        let images: Vec<bool> = files.iter().map(Entry::has_image_ending).collect();
        assert_eq!(images, [true, true, true, false]);
    }

    #[test]
    fn a_missing_root_is_an_error_under_every_policy() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("nowhere");
        for policy in [OnError::Fail, OnError::Skip] {
            let error = walk(&missing, policy, &mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains("nowhere: expected a readable folder"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn circular_links_end() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("again")).unwrap();
        fs::write(root.path().join("x.png"), "x").unwrap();
        assert!(walk(root.path(), OnError::Fail, &mut Vec::new()).unwrap().len() <= MAX_DEPTH);
    }
}
