//! Attacks that see answers alone, or a substitute.

mod hopskipjump;
mod square;
mod transfer;

pub use hopskipjump::{HopSkipJump, Starts};
pub use square::Square;
pub use transfer::Transfer;
