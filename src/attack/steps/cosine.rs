//! A quantity that falls along a cosine.

use std::f64::consts::PI;

/// From `first`, in step 0, towards `last` along half a cosine, as many attacks let their step sizes fall
/// (Loshchilov & Hutter, "SGDR", ICLR 2017, equation 5, without restarts).
///
/// ```
/// use histoguard::attack::steps::cosine;
///
/// assert_eq!([0, 50, 100].map(|step| cosine(1.0, 0.5, step, 100)), [1.0, 0.75, 0.5]);
/// ```
pub fn cosine(first: f64, last: f64, step: usize, steps: usize) -> f64 {
    last + (first - last) * ((1.0 + (PI * step as f64 / steps as f64).cos()) / 2.0)
}
