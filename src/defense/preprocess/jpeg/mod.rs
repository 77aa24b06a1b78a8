//! JPEG compression, and a smooth stand-in for it.

#[expect(clippy::module_inception)]
mod jpeg;
mod smooth;

pub use jpeg::{Jpeg, JpegBackward};
