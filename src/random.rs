//! Random numbers that depend only on what they are for.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

/// What a generator is for, so that equal seeds do not give equal numbers for different purposes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Split = 1,
    Shuffle = 2,
    Augmentation = 3,
    Slide = 4,
    Tissue = 5,
    Noise = 6,
    TrainingNoise = 7,
    Start = 8,
    AttackNoise = 10,
    InputDiversity = 11,
    VarianceTuning = 12,
    Square = 13,
    HopSkipJump = 14,
    Fab = 15,
    Bootstrap = 16,
}

/// A generator of its own for every (purpose, seed, parts); the same on every machine.
pub(crate) fn generator(purpose: Purpose, seed: u64, parts: &[u64]) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(mix(purpose, seed, parts))
}

/// The 64 bits that [`generator`] starts from.
pub(crate) fn mix(purpose: Purpose, seed: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(split_mix(split_mix(seed) ^ purpose as u64), |state, &part| split_mix(state ^ part))
}

/// SplitMix64's step and output function (Steele, Lea and Flood, OOPSLA 2014).
pub(crate) fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of SplitMix64 for seed 1234567, as published with the reference code
    /// (rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64).
    #[test]
    fn split_mix_matches_the_reference() {
        let seed = 1_234_567_u64;
        let gamma = 0x9e37_79b9_7f4a_7c15_u64;
        assert_eq!(split_mix(seed), 6_457_827_717_110_365_317);
        assert_eq!(split_mix(seed.wrapping_add(gamma)), 3_203_168_211_198_807_973);
    }

    #[test]
    fn every_part_counts() {
        let base = mix(Purpose::Split, 1, &[2, 3]);
        assert_ne!(base, mix(Purpose::Shuffle, 1, &[2, 3]));
        assert_ne!(base, mix(Purpose::Split, 2, &[2, 3]));
        assert_ne!(base, mix(Purpose::Split, 1, &[3, 2]));
        assert_ne!(base, mix(Purpose::Split, 1, &[2]));
    }
}
