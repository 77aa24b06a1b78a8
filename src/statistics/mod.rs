//! Counts of images with what they are worth: proportions with
//! intervals, exact bounds and tests, intervals that resample slides, and the area under a curve.

mod auroc;
mod binomial;
mod bootstrap;
mod interval;
mod operating_point;

pub use auroc::auroc;
pub use binomial::{binomial_test, clopper_pearson, lower_bound, normal_quantile, upper_bound};
pub use bootstrap::{Answer, Bootstrap, Resamples};
pub use interval::{Estimate, Interval, Proportion, wilson};
pub use operating_point::true_positive_rate;
