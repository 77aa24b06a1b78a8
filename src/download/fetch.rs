//! One file from a server into the cache.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

use super::connection::{Connection, Progress};
use super::error::DownloadError;
use super::remote::Remote;
use crate::file::{IoError, PARTIAL};

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A download of which a part may already be there.
pub(super) struct Fetch<'a> {
    connection: &'a Connection,
    remote: &'a Remote,
    url: String,
    agent: Agent,
    path: &'a Path,
    partial: PathBuf,
    /// Holds what the server calls the version of the partial file.
    version: PathBuf,
}

/// Why an attempt did not bring the whole file.
enum Failure {
    /// Trying again is of no use.
    Final(DownloadError),
    /// It may work the next time, not before the pause that the server asked for.
    Passing { found: String, pause: Option<Duration> },
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        Self::Final(error)
    }
}

impl<'a> Fetch<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        remote: &'a Remote,
        url: String,
        path: &'a Path,
    ) -> Result<Self, DownloadError> {
        let https = url.starts_with("https://");
        if !https && !url.starts_with("http://") {
            return Err(DownloadError::Url { url, expected: "an address of http or https" });
        }
        let timeout = Some(connection.timeout);
        let config = Agent::config_builder()
            .https_only(https)
            .http_status_as_error(false)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(timeout)
            .timeout_recv_response(timeout)
            .timeout_per_read(timeout)
            .build();
        let partial = path.with_file_name(format!("{PARTIAL}{}", remote.file_name()?));
        let version = partial.with_added_extension("version");
        Ok(Self { connection, remote, url, agent: config.into(), path, partial, version })
    }

    /// Downloads, checks and puts the file into its place.
    pub(super) fn run(&self) -> Result<(), DownloadError> {
        let continued = self.present() > 0;
        self.complete()?;
        let checked = match self.remote.check(&self.partial) {
            // The part that was there may have been another file's.
            Err(_) if continued => {
                self.discard()?;
                self.complete()?;
                self.remote.check(&self.partial)
            }
            checked => checked,
        };
        if checked.is_err() {
            self.discard()?;
        }
        checked?;
        fs::rename(&self.partial, self.path).map_err(IoError::at(self.path, "a place for the file"))?;
        remove(&self.version)
    }

    /// Attempts until the partial file has all its bytes.
    fn complete(&self) -> Result<(), DownloadError> {
        let Connection { retries, backoff, .. } = self.connection;
        let (mut attempts, mut most) = (0, self.present());
        loop {
            attempts += 1;
            let (found, asked) = match self.attempt() {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing { found, pause }) => (found, pause),
            };
            // Only more bytes than ever count: a server that always breaks off at one place is given up.
            if self.present() > most {
                (attempts, most) = (1, self.present());
            }
            if attempts > *retries {
                return Err(DownloadError::Network { url: self.url.clone(), attempts, found });
            }
            let pause = backoff.saturating_mul(1 << (attempts - 1).min(16));
            std::thread::sleep(pause.max(asked.unwrap_or_default()).min(LONGEST_PAUSE));
        }
    }

    fn attempt(&self) -> Result<(), Failure> {
        let version = fs::read_to_string(&self.version).ok();
        // Without a version and a hash, nobody would notice that the server's file has changed.
        let present = match version.is_some() || self.remote.sha256().is_some() {
            true => self.present(),
            false => 0,
        };
        let mut request = self.agent.get(&self.url).header("Accept-Encoding", "identity");
        if present > 0 {
            request = request.header("Range", format!("bytes={present}-"));
            if let Some(version) = version {
                request = request.header("If-Range", version);
            }
        }
        let response = request.call().map_err(|error| self.refused(error))?;
        let range = content_range(response.headers());
        match (response.status(), range) {
            (StatusCode::OK, _) => {
                let total = response.body().content_length();
                self.write(response, 0, total)
            }
            (StatusCode::PARTIAL_CONTENT, Some((Some(start), total))) if start == present => {
                self.write(response, present, total)
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, Some((None, Some(total)))) if total == present => Ok(()),
            (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, _) if present > 0 => {
                self.discard()?;
                Err(Failure::Passing { found: "another range than the one asked for".into(), pause: None })
            }
            (status, _) => Err(self.status(status, response.headers())),
        }
    }

    /// Writes the body behind the first `position` bytes of the partial file.
    fn write(&self, response: Response<Body>, mut position: u64, total: Option<u64>) -> Result<(), Failure> {
        if let Some(total) = total {
            let checked = self.remote.check_length(self.url.clone(), total);
            if checked.is_err() {
                self.discard()?;
            }
            checked?;
        }
        let mut options = File::options();
        let mut file = match position {
            0 => {
                self.keep_version(response.headers())?;
                options.write(true).create(true).truncate(true).open(&self.partial)
            }
            _ => options.append(true).open(&self.partial),
        }
        .map_err(|source| self.unwritable(source))?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(error.to_string())),
            };
            file.write_all(&buffer[..read]).map_err(|source| self.unwritable(source))?;
            position += read as u64;
            if position > *self.remote.bytes().end() {
                self.discard()?;
                self.remote.check_length(self.url.clone(), position)?;
            }
            if let Some(progress) = &self.connection.progress {
                progress(&Progress { file: self.remote.file_name()?, bytes: position, total });
            }
        }
        file.sync_all().map_err(|source| self.unwritable(source))?;
        match total {
            Some(total) if position < total => Err(broken(format!("{position} of {total} bytes"))),
            _ => Ok(()),
        }
    }

    /// Keeps the server's name for this version of the file, if it has one that cannot be reused.
    fn keep_version(&self, headers: &HeaderMap) -> Result<(), DownloadError> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let version = text("etag").filter(|tag| !tag.starts_with("W/")).or_else(|| text("last-modified"));
        match version {
            Some(version) => fs::write(&self.version, version).map_err(|source| self.unwritable(source)),
            None => remove(&self.version),
        }
    }

    fn present(&self) -> u64 {
        fs::metadata(&self.partial).map_or(0, |file| file.len())
    }

    fn discard(&self) -> Result<(), DownloadError> {
        remove(&self.partial)?;
        remove(&self.version)
    }

    fn status(&self, status: StatusCode, headers: &HeaderMap) -> Failure {
        let status = status.as_u16();
        match status {
            408 | 425 | 429 | 500 | 502..=504 => {
                let seconds = headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
                Failure::Passing {
                    found: format!("status {status}"),
                    pause: seconds.map(Duration::from_secs),
                }
            }
            _ => DownloadError::Status { url: self.url.clone(), status }.into(),
        }
    }

    fn refused(&self, error: ureq::Error) -> Failure {
        use ureq::Error;
        match error {
            Error::BadUri(_) | Error::Http(_) | Error::InvalidProxyUrl => {
                DownloadError::Url { url: self.url.clone(), expected: "a valid address and proxy" }.into()
            }
            Error::TooManyRedirects | Error::RedirectFailed | Error::RequireHttpsOnly(_) => {
                DownloadError::Network { url: self.url.clone(), attempts: 1, found: error.to_string() }.into()
            }
            error => broken(error.to_string()),
        }
    }

    fn unwritable(&self, source: std::io::Error) -> DownloadError {
        IoError::at(&self.partial, "a file to write to")(source).into()
    }
}

fn broken(found: String) -> Failure {
    Failure::Passing { found, pause: None }
}

fn remove(path: &Path) -> Result<(), DownloadError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(IoError::at(path, "a file to remove")(source).into())
        }
        _ => Ok(()),
    }
}

/// First byte and length of `bytes 5-9/10`, of `bytes 5-9/*` and of `bytes */10`.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let text = headers.get("content-range")?.to_str().ok()?;
    let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let start = range.split_once('-').and_then(|(start, _)| start.parse().ok());
    Some((start, total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        // The examples of RFC 9110, section 14.4.
        for (text, expected) in [
            ("bytes 42-1233/1234", Some((Some(42), Some(1234)))),
            ("bytes 42-1233/*", Some((Some(42), None))),
            ("bytes */1234", Some((None, Some(1234)))),
            ("pages 1-2/3", None),
            ("bytes 42", None),
        ] {
            let headers = HeaderMap::from_iter([(ureq::http::header::CONTENT_RANGE, text.parse().unwrap())]);
            assert_eq!(content_range(&headers), expected, "{text}");
        }
        assert_eq!(content_range(&HeaderMap::new()), None);
    }
}
