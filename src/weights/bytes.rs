//! A file's bytes by their place.

use std::fs::File;
use std::io::{Cursor, Read, Result, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

/// A file that is open, or one whose bytes are in memory.
pub(super) enum Opened {
    File(File),
    Memory(Cursor<Arc<[u8]>>),
}

impl Opened {
    pub(super) fn length(&self) -> Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Memory(bytes) => Ok(bytes.get_ref().len() as u64),
        }
    }
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Memory(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Opened {
    fn seek(&mut self, position: SeekFrom) -> Result<u64> {
        match self {
            Self::File(file) => file.seek(position),
            Self::Memory(bytes) => bytes.seek(position),
        }
    }
}

/// A file that is read piece by piece, and never beyond its end.
pub(super) struct FileBytes {
    file: Mutex<Opened>,
    length: u64,
}

impl FileBytes {
    pub(super) fn new(file: Opened) -> Result<Self> {
        let length = file.length()?;
        Ok(Self { file: Mutex::new(file), length })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The bytes from `start` on; memory is asked for only if the file has them.
    pub(super) fn read(&self, start: u64, length: u64) -> std::result::Result<Vec<u8>, String> {
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
