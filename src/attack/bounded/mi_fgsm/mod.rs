//! The momentum iterative method and its transferable variants.

mod attack;
mod diversity;

pub use attack::{MiFgsm, VarianceTuning};
pub use diversity::InputDiversity;
