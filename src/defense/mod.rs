//! Defenses: transformations of the training images.

mod noise;
mod transform;

pub use noise::GaussianNoise;
pub use transform::{DefenseError, TrainTransform};
