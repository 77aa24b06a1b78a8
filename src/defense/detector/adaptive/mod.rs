//! The attacks that know the detectors.

mod attack;
mod climb;
mod evading;

pub use attack::Adaptive;
pub use climb::AdaptiveConfig;
pub use evading::Evading;
