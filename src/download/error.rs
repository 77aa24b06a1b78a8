//! What can go wrong with a download.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use thiserror::Error;

use crate::file::IoError;

/// What went wrong with a download or an archive; it names the place, what was expected and what was found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The system names no folder for caches.
    #[error("cache: expected a folder in HISTOGUARD_CACHE or the system's cache folder, found neither")]
    NoCache,
    /// An address that cannot be downloaded from.
    #[error("{url}: expected {expected}")]
    Url {
        /// The address.
        url: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// A file that the cache does not have while downloads are switched off.
    #[error("{path}: expected the file of {url} because downloads are off, found none", path = path.display())]
    Offline {
        /// Where the file should be.
        path: PathBuf,
        /// Where it could be downloaded.
        url: String,
    },
    /// The server's refusal.
    #[error("{url}: expected status 200 or 206, found {status}")]
    Status {
        /// The address.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// A connection that failed or broke off more often than it was to be tried again.
    #[error("{url}: expected the whole file, found after {attempts} attempts: {found}")]
    Network {
        /// The address.
        url: String,
        /// Attempts since the last one that brought new bytes.
        attempts: u32,
        /// What happened in the last one.
        found: String,
    },
    /// A file of another length than the published one.
    #[error("{file}: expected {} to {} bytes, found {found}", expected.start(), expected.end())]
    Length {
        /// The address or the file.
        file: String,
        /// The published length.
        expected: RangeInclusive<u64>,
        /// The length found, or declared by the server.
        found: u64,
    },
    /// A file of another content than the published one.
    #[error("{file}: expected a SHA-256 that begins with {expected}, found {found}")]
    Hash {
        /// The file.
        file: String,
        /// The published hexadecimal digits, all or the first few.
        expected: String,
        /// All digits of the file's hash.
        found: String,
    },
    /// An archive that is damaged, or that would write where it should not or more than it should.
    #[error("{path}, entry {entry:?}: expected {expected}, found {found}", path = path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The entry's path, as far as it is known.
        entry: String,
        /// What it should have been.
        expected: &'static str,
        /// What it was.
        found: String,
    },
}
