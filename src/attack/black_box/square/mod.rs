//! The Square attack.

mod attack;
mod proposal;

pub use attack::Square;
