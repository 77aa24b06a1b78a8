//! The pixel convention: images in \[0,1\], budgets in the same unit, normalisation inside the model.

mod ball;
mod budget;
mod change;
mod distances;
mod epsilon;
mod jpeg;
mod l1_box;
mod norm;
mod normalization;
mod photometric;
mod rigid;
mod separable;
mod similarity;
mod stain;

pub use ball::{direction, normal, uniform_in_ball};
pub use budget::Budget;
pub(crate) use budget::round;
pub(crate) use change::{change, changed};
pub use distances::Distances;
pub use epsilon::Epsilon;
#[cfg(test)]
pub(crate) use jpeg::round_trip;
pub(crate) use jpeg::{SIDE, Tables};
pub use jpeg::{Subsampling, jpeg};
pub use l1_box::project_l1_in_box;
pub use norm::Norm;
pub use normalization::Normalization;
pub use photometric::{brightness, contrast, gaussian_blur};
pub use rigid::RigidMotion;
pub use separable::{Separable, blur_rows, gaussian_rows, resize_into_rows, resize_rows};
pub use similarity::{psnr, ssim};
pub use stain::{StainShift, StainSpace};
