//! A cache of downloaded files.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::connection::{Connection, Progress};
use super::error::DownloadError;
use super::fetch::Fetch;
use super::remote::Remote;
use crate::file::IoError;

/// Downloads files into a cache and finds them there the next time.
///
/// | parameter | default | environment |
/// | --- | --- | --- |
/// | cache | `histoguard` in the system's cache folder, on Linux `~/.cache/histoguard` | `HISTOGUARD_CACHE` |
/// | offline | no | `HISTOGUARD_OFFLINE=1` |
/// | mirror | none | `HISTOGUARD_MIRROR` |
/// | retries | 5 without a new byte | |
/// | backoff | 1 s, doubled from retry to retry, or what the server asks for; at most 60 s | |
/// | timeout | 60 s to connect, for the answer and between two pieces of the file | |
/// | progress | not shown | |
///
/// A file has its place in the cache only when it is whole and its length and SHA-256 are the published ones,
/// as far as these are published. What a broken connection or a killed program leaves stands beside it and is
/// continued, unless the server's file has changed since. Two processes that want the same file wait for each
/// other.
///
/// ```no_run
/// use histoguard::download::Downloader;
/// use histoguard::weights::{self, Pretrained};
///
/// let downloader = Downloader::new().with_progress_bar();
/// let path = weights::fetch(Pretrained::TorchvisionDenseNet121, &downloader)?;
/// # Ok::<(), histoguard::download::DownloadError>(())
/// ```
#[derive(Clone)]
pub struct Downloader {
    cache: Option<PathBuf>,
    offline: bool,
    mirror: Option<String>,
    connection: Connection,
}

impl Default for Downloader {
    fn default() -> Self {
        Self::new()
    }
}

impl Downloader {
    /// The defaults and what the environment says.
    pub fn new() -> Self {
        Self::from_environment(|name| std::env::var_os(name))
    }

    fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let cache = variable("HISTOGUARD_CACHE").map(PathBuf::from);
        Self {
            cache: cache.or_else(|| Some(dirs::cache_dir()?.join(env!("CARGO_PKG_NAME")))),
            offline: variable("HISTOGUARD_OFFLINE").is_some_and(|value| value != "0"),
            mirror: variable("HISTOGUARD_MIRROR").map(|mirror| mirror.to_string_lossy().into_owned()),
            connection: Connection::default(),
        }
    }

    /// Keeps files in this folder.
    #[must_use]
    pub fn with_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// Whether to use what is in the cache alone.
    #[must_use]
    pub fn with_offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Downloads `{mirror}/{file name}` instead of the published address.
    #[must_use]
    pub fn with_mirror(mut self, mirror: impl Into<String>) -> Self {
        self.mirror = Some(mirror.into());
        self
    }

    /// How often to try again in a row without a new byte.
    #[must_use]
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.connection.retries = retries;
        self
    }

    /// The pause before the first retry; it doubles from retry to retry.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Duration) -> Self {
        self.connection.backoff = backoff;
        self
    }

    /// How long the server may be silent.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.connection.timeout = timeout;
        self
    }

    /// Calls `progress` after every piece of a file.
    #[must_use]
    pub fn with_progress(mut self, progress: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.connection.progress = Some(std::sync::Arc::new(progress));
        self
    }

    /// Shows a bar on the terminal.
    #[must_use]
    pub fn with_progress_bar(self) -> Self {
        let style = "{msg} {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        let style = indicatif::ProgressStyle::with_template(style).expect("a valid template");
        let bar = indicatif::ProgressBar::no_length().with_style(style);
        self.with_progress(move |progress| {
            if bar.message() != progress.file {
                bar.reset();
                bar.set_message(progress.file.to_string());
            }
            if let Some(total) = progress.total {
                bar.set_length(total);
            }
            bar.set_position(progress.bytes);
            if progress.total == Some(progress.bytes) {
                bar.finish();
            }
        })
    }

    /// The folder of the cache, which need not exist yet.
    ///
    /// # Errors
    ///
    /// [`DownloadError::NoCache`] if none was given and the system names none.
    pub fn cache(&self) -> Result<&Path, DownloadError> {
        self.cache.as_deref().ok_or(DownloadError::NoCache)
    }

    /// The path of a file in the cache, downloaded if it is not there or not the published one.
    ///
    /// # Errors
    ///
    /// [`DownloadError`] if the cache cannot be written to, the server refuses or fails for longer than the
    /// retries, or the file is not the published one.
    pub fn fetch(&self, remote: &Remote) -> Result<PathBuf, DownloadError> {
        let name = remote.file_name()?;
        let path = self.cache()?.join(name);
        let url = match &self.mirror {
            Some(mirror) => format!("{}/{name}", mirror.trim_end_matches('/')),
            None => remote.url().to_string(),
        };
        if self.offline {
            return match path.exists() {
                true => remote.check(&path).map(|()| path),
                false => Err(DownloadError::Offline { path, url }),
            };
        }
        if remote.check(&path).is_ok() {
            return Ok(path);
        }
        let _lock = lock(&path)?;
        // Another process may have been faster.
        if remote.check(&path).is_err() {
            Fetch::new(&self.connection, remote, url, &path)?.run()?;
        }
        Ok(path)
    }
}

impl std::fmt::Debug for Downloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cache, offline, mirror, connection } = self;
        f.debug_struct("Downloader")
            .field("cache", cache)
            .field("offline", offline)
            .field("mirror", mirror)
            .field("retries", &connection.retries)
            .field("backoff", &connection.backoff)
            .field("timeout", &connection.timeout)
            .field("progress", &connection.progress.is_some())
            .finish()
    }
}

/// The right to make `path`, held until it is dropped or the process ends. The lock's file stays: removing it
/// would let a third process lock another file of that name.
pub(crate) fn lock(path: &Path) -> Result<File, DownloadError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let lock = path.with_file_name(format!(".{name}.lock"));
    let failed = IoError::at(&lock, "a file to lock");
    fs::create_dir_all(lock.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    let file = File::options().create(true).append(true).open(&lock).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_chooses_the_cache_and_switches_downloads_off() {
        let with = |variables: &'static [(&str, &str)]| {
            Downloader::from_environment(|name| {
                Some(variables.iter().find(|(variable, _)| *variable == name)?.1.into())
            })
        };
        let set = with(&[
            ("HISTOGUARD_CACHE", "somewhere"),
            ("HISTOGUARD_OFFLINE", "1"),
            ("HISTOGUARD_MIRROR", "http://mirror/models"),
        ]);
        assert_eq!(set.cache().unwrap(), Path::new("somewhere"));
        assert!(set.offline && set.mirror.as_deref() == Some("http://mirror/models"));
        assert!(!with(&[("HISTOGUARD_OFFLINE", "0")]).offline);
        let empty = with(&[("HISTOGUARD_CACHE", ""), ("HISTOGUARD_OFFLINE", ""), ("HISTOGUARD_MIRROR", "")]);
        let unset = with(&[]);
        assert_eq!(format!("{empty:?}"), format!("{unset:?}"));
        assert!(!unset.offline && unset.mirror.is_none());
        if let Ok(cache) = unset.cache() {
            assert!(cache.is_absolute() && cache.ends_with("histoguard"), "{}", cache.display());
        }
        assert!(matches!(Downloader { cache: None, ..unset }.cache(), Err(DownloadError::NoCache)));
    }
}
