//! Files over HTTP: resumed, checked, kept in a cache; and archives that cannot write where they should not.
//!
//! [`weights::fetch`](crate::weights::fetch) and [`data::download`](crate::data::download()) use it for
//! pretrained weights and BreakHis.

mod archive;
mod connection;
mod downloader;
mod error;
mod fetch;
mod remote;

pub(crate) use archive::unpack_checked;
pub use archive::{UnpackLimits, unpack};
pub use connection::Progress;
pub use downloader::Downloader;
pub(crate) use downloader::lock;
pub use error::DownloadError;
pub use remote::Remote;
