//! HopSkipJump: the attack, where it starts, and its walk along the boundary.

mod attack;
mod start;
mod walk;

pub use attack::HopSkipJump;
