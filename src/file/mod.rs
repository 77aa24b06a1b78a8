//! Files that are either there completely or not at all, folders that one run has to itself, and what is said
//! of those that cannot be read or written.

mod error;
mod lock;
mod whole;

pub use error::IoError;
pub use lock::FolderLock;
#[cfg(any(feature = "download", feature = "train"))]
pub(crate) use whole::PARTIAL;
pub use whole::write_whole;
