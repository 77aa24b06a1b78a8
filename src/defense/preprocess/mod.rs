//! Defenses that change every image before the classifier sees it, each with the backward pass that an attack
//! on it takes.

mod backward;
mod bit_depth;
mod chain;
mod custom;
mod draws;
mod jpeg;
mod median;
#[expect(clippy::module_inception)]
mod preprocess;
mod repeats;
mod resize_pad;
mod total_variation;
mod views;

pub use backward::{Backward, ImageFunction};
pub use bit_depth::{BitDepth, Levels};
pub use chain::Chain;
pub use custom::Custom;
pub use draws::ImageDraws;
pub use jpeg::{Jpeg, JpegBackward};
pub use median::{Median, MedianBackward};
pub use preprocess::Preprocess;
pub use resize_pad::{Interpolation, RandomResizePad};
pub use total_variation::TotalVariation;
pub use views::attack_views;

pub use crate::pixels::Subsampling;
