//! JPEG compression, and a smooth stand-in for it.

mod codec;
mod dct;
#[expect(clippy::module_inception)]
mod jpeg;
mod smooth;
mod tables;

pub use jpeg::{Jpeg, JpegBackward, Subsampling};
