//! Auto-PGD.

mod attack;
mod loss;
mod run;
mod sparse;

pub use attack::Apgd;
pub use loss::ApgdLoss;
