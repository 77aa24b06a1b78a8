//! A file's bytes by their place.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

/// A file that is read piece by piece, and never beyond its end.
pub(super) struct FileBytes {
    file: Mutex<File>,
    length: u64,
}

impl FileBytes {
    pub(super) fn new(file: File) -> std::io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file: Mutex::new(file), length })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The bytes from `start` on; memory is asked for only if the file has them.
    pub(super) fn read(&self, start: u64, length: u64) -> Result<Vec<u8>, String> {
        let end = start.checked_add(length).filter(|end| *end <= self.length);
        if end.is_none() {
            return Err(format!("{length} bytes from {start} on in a file of {}", self.length));
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|error| error.to_string())?];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
        read.map(|()| bytes).map_err(|error| error.to_string())
    }
}
