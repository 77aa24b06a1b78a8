//! One image: from bytes to RGB, from RGB to a square of the network's size.

mod augment;
mod decode;
mod resize;
mod tiff;

pub use augment::Augmentation;
pub use decode::{decode_image, exif_orientation, read_image};
pub(crate) use resize::{Orientation, center, write_unit};
