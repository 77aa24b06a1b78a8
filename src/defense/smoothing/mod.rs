//! Randomized smoothing: answers that no perturbation of a certified length in L2 can change.

mod accuracy;
mod certificate;
mod classifier;
mod counts;
mod error;
mod noise;
mod radius;
mod smooth_adv;
#[expect(clippy::module_inception)]
mod smoothing;
mod tally;

pub use accuracy::{Certified, CertifiedAccuracy, CertifiedAt, CertifiedCurve, NamedCurve};
pub use certificate::{Certificate, Prediction};
pub use counts::Counts;
pub use error::SmoothingError;
pub use radius::Radius;
pub use smooth_adv::SmoothAdv;
pub use smoothing::Smoothing;
pub use tally::Tally;
