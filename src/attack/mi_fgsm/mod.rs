//! The momentum iterative method and its transferable variants.

mod attack;
mod momentum;
mod separable;

pub use attack::MiFgsm;
