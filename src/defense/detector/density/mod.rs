//! Detectors on a network's features.

mod gathered;
mod kernel_density;
mod ledoit_wolf;
mod mahalanobis;

pub use kernel_density::KernelDensity;
pub use ledoit_wolf::{Shrunk, ledoit_wolf};
pub use mahalanobis::Mahalanobis;
