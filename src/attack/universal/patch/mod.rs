//! A patch that is laid on any image, learned beforehand.

mod adversarial_patch;
mod overlay;
#[expect(clippy::module_inception)]
mod patch;
mod placement;
mod shape;

pub use adversarial_patch::{AdversarialPatch, PatchOptimizer};
pub use overlay::PatchOverlay;
pub use patch::Patch;
pub use placement::{Placement, Places};
pub use shape::PatchShape;
