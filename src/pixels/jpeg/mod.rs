//! What JPEG compression makes of an image: libjpeg's arithmetic without the lossless coding.

mod codec;
mod compress;
mod dct;
mod tables;

#[cfg(test)]
pub(crate) use codec::round_trip;
pub use compress::{Subsampling, jpeg};
pub(crate) use tables::{SIDE, Tables};
