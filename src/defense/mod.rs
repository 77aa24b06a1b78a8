//! Defences: transformations of the training images.

mod transform;

pub use transform::{DefenseError, TrainTransform};
