//! Sharing images out to training, validation and test.

mod assign;
mod fold;
mod leakage;
#[allow(clippy::module_inception)]
mod split;

pub(in crate::data) use assign::by_image;
pub use leakage::{LeakageReport, SharedGroup};
pub use split::{Split, SplitMethod, SplitRecord};
