//! How a server is spoken to: patience, and somebody to tell how far it is.

use std::sync::Arc;
use std::time::Duration;

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Name of the file.
    pub file: &'a str,
    /// Bytes that are there, those of earlier attempts included.
    pub bytes: u64,
    /// Bytes of the whole file, if the server said so.
    pub total: Option<u64>,
}

pub(super) type OnProgress = Arc<dyn Fn(&Progress) + Send + Sync>;

/// What every download of a [`Downloader`](super::Downloader) keeps to.
#[derive(Clone)]
pub(super) struct Connection {
    /// Attempts in a row without a new byte.
    pub(super) retries: u32,
    /// The pause before the first retry.
    pub(super) backoff: Duration,
    /// How long the server may be silent.
    pub(super) timeout: Duration,
    pub(super) progress: Option<OnProgress>,
}

impl Default for Connection {
    fn default() -> Self {
        Self { retries: 5, backoff: Duration::from_secs(1), timeout: Duration::from_secs(60), progress: None }
    }
}
