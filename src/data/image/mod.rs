//! One image: from bytes to RGB, from RGB to a square of the network's size.

mod augment;
mod decode;
mod resize;

pub use augment::Augmentation;
pub use decode::{decode_image, read_image};
pub(crate) use resize::{Orientation, center, write_unit};
