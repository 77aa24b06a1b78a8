//! A page that attacks one image in the browser, with histoguard compiled to WebAssembly: a checkpoint and an
//! image in, the adversarial image and what the network says of it out. Nothing leaves the machine.
//!
//! [`Laboratory`] is what the page does, without a browser. `build.sh` compiles it and puts the page together.

mod attacks;
mod laboratory;
#[cfg(all(target_family = "wasm", target_feature = "atomics"))]
mod threads;
#[cfg(target_family = "wasm")]
mod worker;

pub use attacks::{CHOICES, Choice, Request};
pub use laboratory::{
    Accuracy, Answer, ImageSummary, Laboratory, NORMALIZATIONS, NetworkSummary, Picture, SIDES,
};
