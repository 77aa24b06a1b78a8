//! What speaks against believing an evaluation, found by the evaluation itself.

mod access;
mod budget;
mod effort;
mod gradients;
mod probe;
mod randomness;
mod slides;

pub(super) use probe::all;
