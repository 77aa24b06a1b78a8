//! BreakHis from its server.

use std::fs;
use std::path::Path;

use super::breakhis::{BreakHis, PaperCoverage};
use super::error::DataError;
use crate::download::{DownloadError, Downloader, Remote, UnpackLimits, lock, unpack_checked};
use crate::file::IoError;

/// Published without length and checksum; other sources speak of 4 GB.
const URL: &str = "http://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz";
const BYTES: std::ops::RangeInclusive<u64> = 3_000_000_000..=6_000_000_000;

/// 7,909 images, their folders and what else the authors may have packed; twice the archive's size.
const LIMITS: UnpackLimits = UnpackLimits { entries: 20_000, bytes: 12_000_000_000 };

/// Images of the published data set, by their names.
const IMAGES: usize = 7_909;

/// BreakHis in the downloader's cache, downloaded (about 4 GB) and unpacked the first time.
///
/// The authors publish neither length nor checksum, and the server has no HTTPS: what is checked is that the
/// archive holds the 7,909 names of the data set and the paper's 644 and 903 images among them, not what the
/// images show. The data set is for research, under the authors' terms. The archive is removed when it is
/// unpacked.
///
/// # Errors
///
/// [`DataError::Download`] if the archive cannot be had or unpacked, [`DataError::Incomplete`] if it holds other
/// images, and what [`BreakHis::open`] returns.
///
/// ```no_run
/// use histoguard::data;
/// use histoguard::download::Downloader;
///
/// let paper = data::download(&Downloader::new().with_progress_bar())?.paper_subset();
/// # Ok::<(), histoguard::data::DataError>(())
/// ```
pub fn download(downloader: &Downloader) -> Result<BreakHis, DataError> {
    let folder = downloader.cache()?.join("BreaKHis_v1");
    if folder.is_dir() {
        return open_complete(&folder);
    }
    // Nobody is to download again what another process has unpacked and removed.
    let _lock = lock(&folder.with_extension("download"))?;
    if folder.is_dir() {
        return open_complete(&folder);
    }
    let archive = downloader.fetch(&Remote::new(URL, BYTES))?;
    let breakhis = unpack(&archive, &folder)?;
    let failed = IoError::at(&archive, "an archive to remove");
    fs::remove_file(&archive).map_err(failed).map_err(DownloadError::from)?;
    Ok(breakhis)
}

/// Unpacks `BreaKHis_v1.tar.gz` into a folder, unless the folder is there already.
///
/// The folder is there with all images or not at all.
///
/// # Errors
///
/// As for [`download`].
pub fn unpack(archive: impl AsRef<Path>, folder: impl AsRef<Path>) -> Result<BreakHis, DataError> {
    let folder = folder.as_ref();
    unpack_checked(archive.as_ref(), folder, LIMITS, |fresh| open_complete(fresh).map(drop))?;
    open_complete(folder)
}

fn open_complete(folder: &Path) -> Result<BreakHis, DataError> {
    let breakhis = BreakHis::open(folder)?;
    let dropped: usize = breakhis.repeated_slides().iter().map(|slide| slide.images).sum();
    let (images, coverage) = (breakhis.len() + dropped, breakhis.paper_coverage());
    match images == IMAGES && coverage.is_complete() {
        true => Ok(breakhis),
        false => Err(DataError::Incomplete {
            path: folder.into(),
            expected: format!(
                "{IMAGES} images, among them the paper's {} benign and {} malignant ones",
                PaperCoverage::BENIGN,
                PaperCoverage::MALIGNANT
            ),
            found: format!("{images}, and {coverage}"),
        }),
    }
}
