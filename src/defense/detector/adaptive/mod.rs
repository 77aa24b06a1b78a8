//! The attack that knows the detectors.

mod attack;
mod climb;

pub use attack::Adaptive;
pub use climb::AdaptiveConfig;
