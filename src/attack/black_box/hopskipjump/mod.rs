//! HopSkipJump: the attack, where it starts, its walks along the boundary, and how it finds their direction.

mod attack;
mod begin;
mod estimate;
mod starts;
mod walks;

pub use attack::HopSkipJump;
pub use starts::Starts;
