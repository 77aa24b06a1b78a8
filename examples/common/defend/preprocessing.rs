//! Defenses that change images before the undefended network.

use histoguard::classifier::Average;
use histoguard::defense::{
    BitDepth, DefenseError, Jpeg, Median, Preprocess, RandomResizePad, TotalVariation,
};
use histoguard::prelude::*;

use crate::common::defend::options::Defense;

/// Draws of a random preprocessing that every answer is averaged over.
const DRAWS: usize = 20;

/// The undefended network behind this defense.
pub fn defended(defense: Defense, network: Frozen, seed: u64) -> Result<Frozen, DefenseError> {
    match defense {
        Defense::BitDepth => BitDepth::new(3).before(network),
        Defense::Median => Median::new().before(network),
        Defense::Jpeg => Jpeg::new(75).before(network),
        Defense::TotalVariation => TotalVariation::new().with_seed(seed).before(network),
        Defense::Resize => {
            let one = RandomResizePad::new().with_seed(seed).before(network)?;
            Ok(one.expectation_over(DRAWS, Average::Probabilities))
        }
        other => unreachable!("{} is no preprocessing", other.name()),
    }
}
