//! The pixel convention: images in \[0,1\], budgets in the same unit, normalisation inside the model.

mod ball;
mod budget;
mod change;
mod distances;
mod epsilon;
mod l1_box;
mod norm;
mod normalization;
mod separable;
mod similarity;

pub use ball::{direction, normal, uniform_in_ball};
pub use budget::Budget;
pub(crate) use budget::round;
pub(crate) use change::{change, changed};
pub use distances::Distances;
pub use epsilon::Epsilon;
pub use l1_box::project_l1_in_box;
pub use norm::Norm;
pub use normalization::Normalization;
pub use separable::{Separable, gaussian_rows, resize_into_rows, resize_rows};
pub use similarity::{psnr, ssim};
