//! Random numbers that depend only on what they are for.

pub use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

/// The generator of every random number here.
pub type Generator = Xoshiro256PlusPlus;

/// What a generator is for, so that equal seeds do not give equal numbers for different purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose(u64);

impl Purpose {
    pub(crate) const SPLIT: Self = Self(1);
    pub(crate) const SHUFFLE: Self = Self(2);
    pub(crate) const AUGMENTATION: Self = Self(3);
    pub(crate) const SLIDE: Self = Self(4);
    pub(crate) const TISSUE: Self = Self(5);
    pub(crate) const NOISE: Self = Self(6);
    pub(crate) const TRAINING_NOISE: Self = Self(7);
    pub(crate) const START: Self = Self(8);
    pub(crate) const ATTACK_NOISE: Self = Self(10);
    pub(crate) const INPUT_DIVERSITY: Self = Self(11);
    pub(crate) const VARIANCE_TUNING: Self = Self(12);
    pub(crate) const SQUARE: Self = Self(13);
    pub(crate) const HOP_SKIP_JUMP: Self = Self(14);
    pub(crate) const FAB: Self = Self(15);
    pub(crate) const BOOTSTRAP: Self = Self(16);
    pub(crate) const OBJECTIVE: Self = Self(17);
    pub(crate) const DDN: Self = Self(18);

    /// The purpose with this name, apart from all others and from this crate's own.
    ///
    /// ```
    /// use histoguard::random::{Purpose, RngExt, generator};
    ///
    /// const START: Purpose = Purpose::named("my attack's start");
    /// let draw = |image: u64| generator(START, 0, &[image]).random::<f32>();
    /// assert_eq!(draw(3), draw(3));
    /// assert_ne!(draw(3), draw(4));
    /// ```
    pub const fn named(name: &str) -> Self {
        // FNV-1a (Fowler, Noll & Vo, draft-eastlake-fnv), above the numbers of this crate's own purposes.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut at = 0;
        while at < name.len() {
            hash = (hash ^ name.as_bytes()[at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        Self(hash | 1 << 32)
    }
}

/// A generator of its own for every (purpose, seed, parts); the same on every machine.
pub fn generator(purpose: Purpose, seed: u64, parts: &[u64]) -> Generator {
    Xoshiro256PlusPlus::seed_from_u64(mix(purpose, seed, parts))
}

/// The 64 bits that [`generator`] starts from.
pub(crate) fn mix(purpose: Purpose, seed: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(split_mix(split_mix(seed) ^ purpose.0), |state, &part| split_mix(state ^ part))
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
        let base = mix(Purpose::SPLIT, 1, &[2, 3]);
        assert_ne!(base, mix(Purpose::SHUFFLE, 1, &[2, 3]));
        assert_ne!(base, mix(Purpose::SPLIT, 2, &[2, 3]));
        assert_ne!(base, mix(Purpose::SPLIT, 1, &[3, 2]));
        assert_ne!(base, mix(Purpose::SPLIT, 1, &[2]));
    }
}
