//! One run at a time in a folder, or several that are to share it.

use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind};
use std::path::Path;

use super::error::IoError;

/// The name of the file that is locked.
const NAME: &str = ".lock";

/// The right to work in a folder, held until it is dropped or the process ends, however it ends.
///
/// It is an advisory lock of the system's (`flock` on Unix, `LockFileEx` on Windows) on the empty file
/// `.lock` in the folder, which stays there: removing it would let two later runs lock two files of that
/// name. Nothing is to be cleaned up after a kill. On a file system without locks, as some networks' are,
/// nobody is kept out; on one that has them, runs on other machines are kept out as far as it carries locks
/// between machines.
///
/// ```
/// use histoguard::file::FolderLock;
///
/// let out = tempfile::tempdir()?;
/// let first = FolderLock::take(out.path())?;
/// let error = FolderLock::take(out.path()).unwrap_err();
/// assert!(error.to_string().ends_with("expected a folder in which no other run is at work, found: one is"));
/// drop(first);
/// FolderLock::take(out.path())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FolderLock {
    // Closing the file gives the lock back.
    _file: File,
}

impl FolderLock {
    /// Takes the folder, which is made if it is missing, or refuses at once if a run has it: one of another
    /// process, or of this one.
    ///
    /// # Errors
    ///
    /// [`IoError`] of kind [`ResourceBusy`](ErrorKind::ResourceBusy) if a run has it, of another kind if the
    /// folder cannot be made or written to.
    pub fn take(folder: &Path) -> Result<Self, IoError> {
        Self::locked(folder, File::try_lock)
    }

    /// Takes the folder beside others that share it, and refuses at once if a run has it for itself.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn share(folder: &Path) -> Result<Self, IoError> {
        Self::locked(folder, File::try_lock_shared)
    }

    fn locked(folder: &Path, lock: fn(&File) -> Result<(), TryLockError>) -> Result<Self, IoError> {
        let failed = IoError::at(folder, "a folder that can be written");
        std::fs::create_dir_all(folder).map_err(failed)?;
        let path = folder.join(NAME);
        let file = File::options().create(true).append(true).open(path).map_err(failed)?;
        match lock(&file) {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let busy = Error::new(ErrorKind::ResourceBusy, "one is");
                Err(IoError::at(folder, "a folder in which no other run is at work")(busy))
            }
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                Ok(Self { _file: file })
            }
            Err(TryLockError::Error(error)) => Err(IoError::at(folder, "a folder that can be locked")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_run_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let [one, other] = ["new/one", "new/other"].map(|name| root.path().join(name));
        let first = FolderLock::take(&one).unwrap();
        let _beside = FolderLock::take(&other).unwrap();
        assert_eq!(FolderLock::take(&one).unwrap_err().source.kind(), ErrorKind::ResourceBusy);
        drop(first);
        FolderLock::take(&one).unwrap();
        assert_eq!(std::fs::read(one.join(NAME)).unwrap(), b"");
    }

    #[test]
    fn a_folder_is_shared_or_taken() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = [(), ()].map(|()| FolderLock::share(folder.path()).unwrap());
        assert!(FolderLock::take(folder.path()).is_err());
        drop(first);
        assert!(FolderLock::take(folder.path()).is_err());
        drop(second);
        let _taken = FolderLock::take(folder.path()).unwrap();
        assert_eq!(FolderLock::share(folder.path()).unwrap_err().source.kind(), ErrorKind::ResourceBusy);
    }

    #[test]
    fn what_is_no_folder_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, b"kept").unwrap();
        let error = FolderLock::take(&file).unwrap_err().to_string();
        assert!(error.contains("file: expected a folder that can be written"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), b"kept");
    }
}
