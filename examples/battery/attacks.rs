//! The attacks by the names that the command line knows.

use histoguard::prelude::*;

/// Every name that [`attack_by_name`] knows, in the order of a full battery: cheap ones first.
pub const NAMES: &[&str] = &["fgsm"];

/// The attack with this name; `None` if there is none, or none in this norm.
pub fn attack_by_name(name: &str, norm: Norm, epsilon: Epsilon) -> Option<Box<dyn Attack>> {
    Some(match (name, norm) {
        ("fgsm", Norm::Linf | Norm::L2 | Norm::L1) => Box::new(Fgsm::new(epsilon).with_norm(norm)),
        _ => return None,
    })
}
