//! Files that are either there completely or not at all.

use std::io::Write;
use std::path::Path;

/// How the names of files begin that are not whole yet; a kill can leave one.
pub(crate) const PARTIAL: &str = ".partial-";

/// Writes beside `path`, flushes to the disk and renames, so that the file is whole or as it was; missing
/// folders are made.
///
/// # Errors
///
/// The system's, which leaves nothing behind.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    // Temporary files are private; this one is to be as readable as any other file of the user's.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.prefix(PARTIAL).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file");
        for text in [b"first".as_slice(), b"second"] {
            write_whole(&path, text).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(write_whole(&path.join("below a file"), b"").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
    }
}
