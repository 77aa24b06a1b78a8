//! Counts of images with what they are worth: proportions with
//! intervals, intervals that resample slides, and the area under a curve.

mod auroc;
mod bootstrap;
mod interval;

pub use auroc::auroc;
pub use bootstrap::{Answer, Bootstrap, Resamples};
pub use interval::{Estimate, Interval, Proportion, wilson};
