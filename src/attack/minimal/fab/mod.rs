//! The fast adaptive boundary attack.

mod attack;
mod projection;

pub use attack::Fab;
