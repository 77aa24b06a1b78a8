//! Randomness an image: one generator from (seed, purpose, epoch, index), whatever the batch or the thread.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

/// What the randomness is for, so that the same image does not draw the same numbers twice.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Gaussian training noise.
    Noise = 1,
}

/// The generator of one image in one epoch.
pub(crate) fn image_rng(seed: u64, purpose: Purpose, epoch: usize, index: u64) -> Xoshiro256PlusPlus {
    let mixed = [purpose as u64, epoch as u64, index]
        .into_iter()
        .fold(seed, |state, word| splitmix64(state ^ splitmix64(word)));
    Xoshiro256PlusPlus::seed_from_u64(mixed)
}

/// The finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): every bit of input reaches every bit of output.
fn splitmix64(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn splitmix64_gives_the_published_sequence() {
        // First outputs for seed 1234567, from Rosetta Code's "Pseudo-random numbers/Splitmix64".
        let mut state = 1_234_567u64;
        for expected in [6_457_827_717_110_365_317u64, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423] {
            assert_eq!(splitmix64(state), expected);
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
    }

    #[test]
    fn every_part_of_the_key_changes_the_draw() {
        let draw = |seed, epoch, index| image_rng(seed, Purpose::Noise, epoch, index).next_u64();
        let base = draw(0, 1, 2);
        assert_eq!(base, draw(0, 1, 2));
        for other in [draw(1, 1, 2), draw(0, 2, 2), draw(0, 1, 3), draw(0, 2, 1)] {
            assert_ne!(base, other);
        }
    }
}
