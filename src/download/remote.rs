//! What is known about a file before it is downloaded.

use std::fs::File;
use std::ops::RangeInclusive;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::DownloadError;
use crate::file::IoError;

/// A file on a server and what its publisher says about it.
///
/// ```
/// use histoguard::download::Remote;
///
/// let remote = Remote::new("https://example.org/models/net-a639ec97.pth", 1..=32 << 20).with_sha256("a639ec97");
/// assert_eq!(remote.file_name()?, "net-a639ec97.pth");
/// # Ok::<(), histoguard::download::DownloadError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    url: String,
    bytes: RangeInclusive<u64>,
    sha256: Option<String>,
}

impl Remote {
    /// A file of a length in `bytes`; more is never downloaded.
    pub fn new(url: impl Into<String>, bytes: RangeInclusive<u64>) -> Self {
        Self { url: url.into(), bytes, sha256: None }
    }

    /// The hexadecimal digits of the file's SHA-256: all 64 or, where no more is published, the first few.
    #[must_use]
    pub fn with_sha256(mut self, digits: impl Into<String>) -> Self {
        self.sha256 = Some(digits.into().to_ascii_lowercase());
        self
    }

    /// Where the file is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The lengths in bytes that the file may have.
    pub fn bytes(&self) -> &RangeInclusive<u64> {
        &self.bytes
    }

    /// The published digits of the file's SHA-256, if any are.
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }

    /// The last part of the address, which names the file in the cache.
    ///
    /// # Errors
    ///
    /// [`DownloadError::Url`] unless it is a name of letters, digits, `.`, `-` and `_` that begins with a
    /// letter or digit.
    pub fn file_name(&self) -> Result<&str, DownloadError> {
        let name = self.url.rsplit('/').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain) {
            true => Ok(name),
            false => Err(DownloadError::Url {
                url: self.url.clone(),
                expected: "an address that ends in a plain file name",
            }),
        }
    }

    /// Whether a file is the published one, as far as that can be told.
    pub(super) fn check(&self, path: &Path) -> Result<(), DownloadError> {
        let unreadable = IoError::at(path, "a readable file");
        let mut file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let shown = || path.display().to_string();
        self.check_length(shown(), length)?;
        let Some(expected) = &self.sha256 else { return Ok(()) };
        let mut hash = Sha256::new();
        std::io::copy(&mut file, &mut hash).map_err(unreadable)?;
        let found = format!("{:x}", hash.finalize());
        match found.starts_with(expected) {
            true => Ok(()),
            false => Err(DownloadError::Hash { file: shown(), expected: expected.clone(), found }),
        }
    }

    /// Whether the published file can have this length.
    pub(super) fn check_length(&self, file: String, found: u64) -> Result<(), DownloadError> {
        match self.bytes.contains(&found) {
            true => Ok(()),
            false => Err(DownloadError::Length { file, expected: self.bytes.clone(), found }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_file_names() {
        for (url, plain) in [
            ("http://host/a/net-1_2.pth", true),
            ("http://host/", false),
            ("http://host/..", false),
            ("http://host/.hidden", false),
            ("http://host/a?b=c", false),
            ("http://host/a%2fb", false),
            ("http://host/a\\b", false),
        ] {
            assert_eq!(Remote::new(url, 0..=1).file_name().is_ok(), plain, "{url}");
        }
    }

    #[test]
    fn length_and_first_digits_of_the_hash_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let remote = Remote::new("http://host/abc", 3..=3);
        for digits in [digits, &digits[..8], "BA78"] {
            remote.clone().with_sha256(digits).check(&path).unwrap();
        }
        let error = remote.clone().with_sha256("ba7816be").check(&path).unwrap_err().to_string();
        assert!(error.contains("begins with ba7816be, found ba7816bf8f01"), "{error}");
        for bytes in [0..=2, 4..=9] {
            let error = Remote::new("http://host/abc", bytes).check(&path).unwrap_err();
            assert!(matches!(error, DownloadError::Length { found: 3, .. }), "{error}");
        }
    }
}
