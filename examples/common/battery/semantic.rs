//! Attacks that no norm bounds, among those of the command line.

use histoguard::prelude::*;

use crate::common::battery::attacks::attack_by_name;

/// Whether no norm bounds the attack with this name.
pub fn is_semantic(name: &str) -> bool {
    let attack = attack_by_name(name, Budget::pixels(1.0), None);
    attack.is_some_and(|attack| attack.profile().is_semantic())
}
