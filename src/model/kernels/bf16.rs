//! Multiplication in bfloat16 with sums in float32, by the processors that have instructions for it.

/// The most pixels of a register tile, [`Bf16::PIXELS`].
pub(super) const MAX_PIXELS: usize = 32;

/// How a level multiplies in bf16. Planes are `[plane][pixel][32]` as in float32, weights
/// `[out plane][in plane][tap][half][pair][16][2]`: two input channels of an output meet in one product.
///
/// # Safety
///
/// The methods need the level's instructions, and pointers valid for what they read and write.
pub(super) trait Bf16: Copy {
    /// Whether there is such a level at all; otherwise nothing below is called.
    const AVAILABLE: bool;
    /// Whether 3x3 convolutions are faster in bf16 than by Winograd's algorithm in float32.
    const SPATIAL: bool;
    /// Pixels of a register tile.
    const PIXELS: usize;

    /// Before the first tile, and behind the last.
    unsafe fn begin() {}
    unsafe fn end() {}
    /// Rounds the 32 channels of a pixel to the nearest, ties to even.
    unsafe fn round(from: *const f32, to: *mut u16);
    /// `tile[pixel][32]` of the first `count` pixels at `x`: the sum over the units of a convolution, whose inputs lie
    /// `units` bytes behind `x`. Reads at most 15 pixels more, and may write anything to the tile's others.
    unsafe fn tile(x: *const u16, units: &[isize], weights: *const u16, count: usize, tile: *mut f32);
}

/// Levels that multiply in float32 alone.
#[derive(Clone, Copy)]
pub(super) struct Single;

impl Bf16 for Single {
    const AVAILABLE: bool = false;
    const SPATIAL: bool = false;
    const PIXELS: usize = 1;

    unsafe fn round(_: *const f32, _: *mut u16) {
        unreachable!("a level without bf16")
    }
    unsafe fn tile(_: *const u16, _: &[isize], _: *const u16, _: usize, _: *mut f32) {
        unreachable!("a level without bf16")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use half::bf16;

    use super::super::buffer::Buffer;
    use super::super::eval_grad::Pointwise;
    use super::super::lanes::LANES;
    use super::super::pack;
    use super::super::plane::Store;
    use super::super::reference::{Random, distance};
    use super::super::simd::{Level, dispatch};
    use super::super::tile::CHUNK;
    use super::*;

    /// What the instructions do, a number at a time.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Emulated;

    impl Bf16 for Emulated {
        const AVAILABLE: bool = true;
        const SPATIAL: bool = true;
        const PIXELS: usize = 5;

        unsafe fn round(from: *const f32, to: *mut u16) {
            for lane in 0..LANES {
                // SAFETY: the trait's contract.
                unsafe { *to.add(lane) = bf16::from_f32(*from.add(lane)).to_bits() };
            }
        }
        unsafe fn tile(x: *const u16, units: &[isize], weights: *const u16, count: usize, tile: *mut f32) {
            for (p, out) in (0..count).flat_map(|p| (0..LANES).map(move |out| (p, out))) {
                let mut sum = 0.0;
                for (unit, c) in (0..units.len()).flat_map(|unit| (0..LANES).map(move |c| (unit, c))) {
                    // SAFETY: the trait's contract.
                    unsafe {
                        let x = *x.byte_offset(units[unit]).add(p * LANES + c);
                        let at = unit * LANES * LANES + out / 16 * 512 + c / 2 * 32 + out % 16 * 2 + c % 2;
                        sum += bf16::from_bits(x).to_f32() * bf16::from_bits(*weights.add(at)).to_f32();
                    }
                }
                // SAFETY: the trait's contract.
                unsafe { *tile.add(p * LANES + out) = sum };
            }
        }
    }

    pub(in super::super) fn rounded(values: &[f32]) -> Vec<f32> {
        values.iter().map(|&value| bf16::from_f32(value).to_f32()).collect()
    }

    #[test]
    fn pointwise_convolutions_are_those_of_rounded_numbers_at_any_size_and_level() {
        let mut random = Random(5);
        for (pixels, (planes, outs)) in [1, 15, 16, 17, 31, 33, 112, 113, 240]
            .into_iter()
            .flat_map(|pixels| [(1, 1), (3, 2), (2, 5)].map(|planes| (pixels, planes)))
        {
            let plane = pixels * LANES;
            let mut x = Buffer::new(planes * plane);
            x.copy_from_slice(&random.vector(planes * plane, -1.0, 1.0));
            let weights = random.vector(outs * planes * LANES * LANES, -0.1, 0.1);
            let mut expected = vec![0.0; outs * plane];
            let (inputs, factors) = (rounded(&x), rounded(&weights));
            for (index, expected) in expected.iter_mut().enumerate() {
                let (out, px, lane) = (index / plane, index % plane / LANES, index % LANES);
                for (p, c) in (0..planes).flat_map(|p| (0..LANES).map(move |c| (p, c))) {
                    let weight = factors[((out * planes + p) * LANES + c) * LANES + lane];
                    *expected += f64::from(inputs[p * plane + px * LANES + c]) * f64::from(weight);
                }
            }
            let weights = pack::halves(&weights);
            for level in Level::tested_bf16() {
                let what = format!("{pixels} pixels, {planes} to {outs} planes, {level:?}");
                let scratch = Buffer::new((planes * CHUNK + MAX_PIXELS) * LANES / 2);
                let y = Buffer::zeroed(outs * plane);
                let kernel = |range| Pointwise {
                    x: x.ptr(),
                    plane,
                    planes,
                    weights: &weights,
                    outs: (0, outs),
                    range,
                    rounded: Some(scratch.ptr()),
                    then: Store { y: y.ptr(), plane },
                };
                // SAFETY: the buffers have these sizes, and no other thread knows them.
                unsafe { dispatch(level, kernel((0, pixels))) };
                assert!(distance(&y, &expected) < 1e-6, "{what}: {}", distance(&y, &expected));
                let whole = y.to_vec();
                // What was rounded before gives the same, in pieces too.
                let mut halves = Buffer::new((planes * plane + MAX_PIXELS * LANES).div_ceil(2));
                halves.halves().fill(0x7fc0);
                for (half, &x) in halves.halves().iter_mut().zip(x.iter()) {
                    *half = bf16::from_f32(x).to_bits();
                }
                for range in [(pixels / 2, pixels), (0, pixels / 2)] {
                    let kernel = Pointwise { x: halves.ptr(), rounded: None, ..kernel(range) };
                    // SAFETY: the buffers have these sizes, with room for a tile behind the last pixel.
                    unsafe { dispatch(level, kernel) };
                }
                assert!(y[..] == whole, "{what}, rounded before");
            }
        }
    }
}
