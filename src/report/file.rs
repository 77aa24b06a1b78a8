//! Files that are either there completely or not at all.

use std::io::{BufWriter, Write};
use std::path::Path;

use super::ReportError;

/// Writes beside `path` and renames, creating the folder if needed.
pub(super) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), ReportError> {
    let io = |source| ReportError::Io { path: path.into(), expected: "a writable file", source };
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(io)?;
    let mut file = temporary().tempfile_in(folder).map_err(io)?;
    let mut buffered = BufWriter::new(file.as_file_mut());
    write(&mut buffered).and_then(|()| buffered.flush()).map_err(io)?;
    drop(buffered);
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

/// Temporary files are private by default; a report is as readable as any other file of the user's.
fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}
