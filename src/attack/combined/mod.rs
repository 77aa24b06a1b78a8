//! Attacks that are put together from others.

mod auto_attack;
mod ensemble;
mod eot;
mod masked;
mod restarts;
mod tries;

pub use auto_attack::AutoAttack;
pub use ensemble::Ensemble;
pub use eot::Eot;
pub use masked::Masked;
pub use restarts::Restarts;
