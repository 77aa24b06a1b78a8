//! What speaks against believing an evaluation, found by the evaluation itself.

mod access;
mod binarization;
mod budget;
mod effort;
mod gradients;
mod path;
mod probe;
mod randomness;
mod rounding;
mod semantic;
mod slides;
mod stability;
mod tightest;
mod transfer;

pub(super) use probe::all;
