//! What speaks against believing an evaluation, found by the evaluation itself.

mod access;
mod check;
mod effort;
mod epsilon;
mod gradients;
mod probe;
mod randomness;
mod slides;

pub use check::{Check, Verdict};
pub(super) use probe::all;
