//! Archives that are unpacked below one folder and nowhere else.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::downloader::lock;
use super::error::DownloadError;
use crate::file::{IoError, PARTIAL};

/// What an archive may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Files and folders.
    pub entries: usize,
    /// Bytes of all files together.
    pub bytes: u64,
}

/// Unpacks a `.tar.gz` into a folder that does not exist yet; an existing one is left as it is.
///
/// The folder is there completely or not at all: it is filled under another name and renamed. Two processes that
/// unpack to the same folder wait for each other.
///
/// # Errors
///
/// [`DownloadError::Archive`] on an absolute path, a `..`, anything but files and folders (links, devices), more
/// entries or bytes than the limits, and damage; [`DownloadError::Io`] if the folder cannot be written.
pub fn unpack(
    archive: impl AsRef<Path>,
    folder: impl AsRef<Path>,
    limits: UnpackLimits,
) -> Result<(), DownloadError> {
    unpack_checked(archive.as_ref(), folder.as_ref(), limits, |_| Ok(()))
}

/// As [`unpack`], but the folder gets its name only if `check` likes what it holds.
pub(crate) fn unpack_checked<E: From<DownloadError>>(
    archive: &Path,
    folder: &Path,
    limits: UnpackLimits,
    check: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let _lock = lock(folder)?;
    if folder.exists() {
        return Ok(());
    }
    let unwritable = |source| DownloadError::from(IoError::at(folder, "a place for a folder")(source));
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fresh = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(parent).map_err(unwritable)?;
    // Folders in a temporary one are the user's alone; this one is to be as readable as any other.
    let content = fresh.path().join("content");
    fs::create_dir(&content).map_err(unwritable)?;
    unpack_into(archive, &content, limits)?;
    check(&content)?;
    Ok(fs::rename(&content, folder).map_err(unwritable)?)
}

/// Names, lengths and padding between two files; far more than any real archive has there.
const HEADERS: u64 = 64 << 10;

fn unpack_into(path: &Path, folder: &Path, limits: UnpackLimits) -> Result<(), DownloadError> {
    let file = File::open(path).map_err(IoError::at(path, "an archive"))?;
    let wrong = |entry: &str, expected, found: String| DownloadError::Archive {
        path: path.into(),
        entry: entry.into(),
        expected,
        found,
    };
    let left = Rc::new(Cell::new(HEADERS));
    let reader = Metered { inner: MultiGzDecoder::new(io::BufReader::new(file)), left: left.clone() };
    let mut archive = Archive::new(reader);
    let mut last = String::new();
    let damaged = |last: &str, error: io::Error| wrong(last, "a whole .tar.gz", error.to_string());
    let mut bytes = 0u64;
    for (index, entry) in archive.entries().map_err(|error| damaged("", error))?.enumerate() {
        let mut entry = entry.map_err(|error| damaged(&last, error))?;
        last = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if index >= limits.entries {
            return Err(wrong(&last, "fewer entries", format!("more than {}", limits.entries)));
        }
        let target = entry.path().ok().and_then(|path| below(folder, &path));
        let Some(target) = target else {
            return Err(wrong(&last, "a path below the target", "one that leaves it".into()));
        };
        bytes = bytes.saturating_add(entry.size());
        if bytes > limits.bytes {
            return Err(wrong(&last, "fewer bytes", format!("more than {}", limits.bytes)));
        }
        left.set(entry.size());
        let unwritable = IoError::at(&target, "a file to write");
        match entry.header().entry_type() {
            EntryType::Directory => fs::create_dir_all(&target).map_err(unwritable)?,
            EntryType::Regular | EntryType::Continuous => {
                fs::create_dir_all(target.parent().unwrap_or(folder)).map_err(unwritable)?;
                let mut file = File::create(&target).map_err(unwritable)?;
                let size = entry.size();
                match io::copy(&mut entry, &mut file) {
                    Ok(copied) if copied == size => {}
                    Ok(copied) => {
                        return Err(wrong(&last, "all bytes of the file", format!("{copied} of {size}")));
                    }
                    Err(error) => return Err(damaged(&last, error)),
                }
            }
            EntryType::XGlobalHeader => {}
            other => return Err(wrong(&last, "a file or a folder", format!("{other:?}"))),
        }
        left.set(HEADERS);
    }
    Ok(())
}

/// The place of an archive's path below a folder, unless it would leave the folder.
fn below(folder: &Path, path: &Path) -> Option<PathBuf> {
    let mut target = folder.to_path_buf();
    for component in path.components() {
        match component {
            Component::Normal(name) => target.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(target)
}

/// Passes on no more bytes than it was allowed since the last time, so that no header can fill the memory.
struct Metered<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a header of more than 64 KiB"));
        }
        let allowed = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..allowed])?;
        self.left.set(left - read as u64);
        Ok(read)
    }
}
