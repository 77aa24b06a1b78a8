//! The register tiles: one for every convolution, one for every weight gradient.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::bf16::{self, Bf16};
use super::lanes::Aligned;
use super::simd::{LANES, MAX_PIXELS, Simd};

/// Pixels that a kernel handles between two looks at the weights: its inputs stay in the second-level cache.
pub(super) const CHUNK: usize = 112;

/// How far ahead a tile asks for its weights, in floats.
const AHEAD: usize = 8 * LANES;

/// [`Conv::row`] where the stream has no gaps.
pub(super) const NO_ROWS: usize = usize::MAX;

/// A convolution over a stream of pixels.
///
/// Output pixel `q`, input plane `i`, tap `t` and channel `c` meet at
/// `x + i * plane + taps[t] + (q + q / row) * STEP + c`; the weights are `[out plane][in plane][tap][depth][32]`.
#[derive(Clone, Copy)]
pub(super) struct Conv<'a> {
    pub x: *const f32,
    pub planes: usize,
    pub plane: usize,
    pub taps: &'a [isize],
    /// Pixels of a row behind which the stream has one that does not count, or [`NO_ROWS`]. No tile may cross a row.
    pub row: usize,
    /// Channels of a tap.
    pub depth: usize,
    pub weights: *const f32,
    /// Output planes that are computed.
    pub outs: (usize, usize),
    /// Pairs of plane and tap whose weights stay in the first-level cache while a chunk of pixels passes. Sums of such groups
    /// also have less rounding error than one long sum.
    pub group: usize,
}

/// [`Conv::group`] of a 1x1 convolution.
pub(super) const POINTWISE: usize = 4;
/// [`Conv::group`] of a 3x3 convolution: a row of the kernel.
pub(super) const KERNEL_ROW: usize = 3;

/// What becomes of a finished tile.
pub(super) trait Epilogue {
    /// Whether its convolution is one of evaluation, which has a level in bf16.
    #[allow(dead_code)] // Only x86-64 has such levels.
    const BF16: bool = false;

    /// Takes pixels `px..px + count` of an output plane from `tile`, `[pixel][32]`.
    ///
    /// # Safety
    ///
    /// As for [`Simd`]; the epilogue's pointers must be valid for these pixels.
    unsafe fn tile<S: Simd>(&mut self, plane: usize, px: usize, count: usize, tile: *const f32);

    /// What will be read soon: two addresses, each of the pixels of a tile. Asked for while the tile's part that begins
    /// with input plane and tap `unit` is computed; `last` is the part that [`Epilogue::tile`] follows.
    fn ahead(&self, _plane: usize, _unit: usize, _px: usize, _last: bool) -> [Option<*const f32>; 2] {
        [None; 2]
    }
}

/// Computes pixels `from..to` of the output planes, chunk by chunk; of planes and weights in bf16 where the level multiplies
/// in it.
///
/// # Safety
///
/// As for [`Simd`]; the input must be readable up to a tile behind `to`, and the weights complete.
#[inline(always)]
pub(super) unsafe fn convolve<S: Simd, E: Epilogue, const STEP: usize>(
    conv: &Conv,
    from: usize,
    to: usize,
    epilogue: &mut E,
) {
    if S::Half::AVAILABLE {
        // SAFETY: the caller's contract.
        return unsafe { convolve_bf16::<S, E>(conv, from, to, epilogue) };
    }
    let mut sums = MaybeUninit::<Aligned<[f32; (CHUNK + MAX_PIXELS) * LANES]>>::uninit();
    let sums = sums.as_mut_ptr().cast::<f32>();
    let (chunk, units) = (CHUNK / S::PIXELS * S::PIXELS, conv.planes * conv.taps.len());
    for first in (from..to).step_by(chunk) {
        let last = (first + chunk).min(to);
        // Every tile asks for its share of the next group's weights, which may lie beyond the second-level cache.
        let share = LANES.div_ceil((last - first).div_ceil(S::PIXELS));
        for plane in conv.outs.0..conv.outs.1 {
            for start in (0..units).step_by(conv.group) {
                let group = start..(start + conv.group).min(units);
                for px in (first..last).step_by(S::PIXELS) {
                    let count = (last - px).min(S::PIXELS);
                    // SAFETY: the caller's contract, and the sums hold a chunk and a tile behind it.
                    unsafe {
                        let x = conv.x.add((px + px / conv.row) * STEP);
                        let weights = conv.weights.add((plane * units + start) * conv.depth * LANES);
                        let tile = sums.add((px - first) * LANES);
                        let [a, b] = epilogue.ahead(plane, start, px, group.end == units);
                        let done = LANES + (px - first) / S::PIXELS * share;
                        let ahead = Ahead {
                            tiles: [a.unwrap_or(weights), b.unwrap_or(weights)],
                            next: weights.wrapping_add(group.len() * conv.depth * done),
                            share,
                        };
                        any_tile::<S, STEP>(conv, group.clone(), x, weights, count, ahead, tile, start == 0);
                        if start + conv.group >= units {
                            epilogue.tile::<S>(plane, px, count, tile);
                        }
                    }
                }
            }
        }
    }
}

/// [`convolve`] of planes and weights in bf16: every address of `conv` counts in them.
///
/// # Safety
///
/// As there, with 15 pixels for the tile behind `to`.
#[inline(always)]
unsafe fn convolve_bf16<S: Simd, E: Epilogue>(conv: &Conv, from: usize, to: usize, epilogue: &mut E) {
    let taps = conv.taps.len();
    let units: Vec<isize> = (0..conv.planes * taps)
        .map(|unit| 2 * ((unit / taps * conv.plane) as isize + conv.taps[unit % taps]))
        .collect();
    let mut tile = MaybeUninit::<Aligned<[f32; bf16::MAX_PIXELS * LANES]>>::uninit();
    let tile = tile.as_mut_ptr().cast::<f32>();
    let (x, weights) = (conv.x.cast::<u16>(), conv.weights.cast::<u16>());
    // SAFETY: the caller's contract.
    unsafe {
        S::Half::begin();
        for first in (from..to).step_by(CHUNK) {
            let last = (first + CHUNK).min(to);
            for plane in conv.outs.0..conv.outs.1 {
                let weights = weights.add(plane * units.len() * LANES * LANES);
                for px in (first..last).step_by(S::Half::PIXELS) {
                    let count = (last - px).min(S::Half::PIXELS);
                    S::Half::tile(x.add(px * LANES), &units, weights, count, tile);
                    epilogue.tile::<S>(plane, px, count, tile);
                }
            }
        }
        S::Half::end();
    }
}

/// How much of a register tile is computed: seven, eight or fourteen pixels of the widest vectors. A last tile is often a
/// half, and eight tiles of four by four pixels are half of an image's 14 x 14.
const HALF: u8 = 0;
const OVER_HALF: u8 = 1;
const WHOLE: u8 = 2;

#[inline(always)]
fn pixels<S: Simd>(extent: u8) -> usize {
    match extent {
        HALF => S::PIXELS / 2,
        OVER_HALF => S::PIXELS / 2 + 1,
        _ => S::PIXELS,
    }
}

/// Channels for which a tile asks once for what is read later. Vectors of eight floats pass over a tile twice, and have half as
/// many multiplications a channel to hide it behind; shorter ones do not ask.
const fn asks<S: Simd>() -> usize {
    if S::WIDTH == 8 { 4 } else { 1 }
}

/// One channel's products.
///
/// # Safety
///
/// As for [`conv_tile`].
#[inline(always)]
unsafe fn channel<S: Simd, const STEP: usize>(
    x: *const f32,
    weights: *const f32,
    pixels: usize,
    acc: &mut [[S::V; 2]; MAX_PIXELS],
) {
    // SAFETY: the caller's contract.
    unsafe {
        for line in (0..2 * S::WIDTH).step_by(LANES / 2) {
            S::prefetch(weights.wrapping_add(AHEAD + line));
        }
        let w0 = S::load(weights);
        let w1 = S::load(weights.add(S::WIDTH));
        for (p, acc) in acc.iter_mut().enumerate().take(pixels) {
            let b = S::splat(*x.add(p * STEP));
            acc[0] = S::mul_add(b, w0, acc[0]);
            acc[1] = S::mul_add(b, w1, acc[1]);
        }
    }
}

/// Pixels of the next tile, of so many that are left, where as few as possible are computed for nothing. Not for sums over a
/// tile's pixels, or tiles that may not cross a row.
#[inline(always)]
pub(super) fn count<S: Simd>(left: usize) -> usize {
    let over_half = pixels::<S>(OVER_HALF);
    if left > S::PIXELS && left <= 2 * over_half { over_half } else { left.min(S::PIXELS) }
}

/// What is read after a tile, asked for while it is computed.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    /// Each of the pixels of a tile.
    pub tiles: [*const f32; 2],
    /// So late that it should wait in the second-level cache: `share` floats a channel.
    pub next: *const f32,
    pub share: usize,
}

/// [`conv_tile`] of as many pixels as `count` takes.
///
/// # Safety
///
/// As there.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // Two callers; a struct would only repeat the names.
pub(super) unsafe fn any_tile<S: Simd, const STEP: usize>(
    conv: &Conv,
    group: Range<usize>,
    x: *const f32,
    weights: *const f32,
    count: usize,
    ahead: Ahead,
    tile: *mut f32,
    fresh: bool,
) {
    // SAFETY: the caller's contract.
    unsafe {
        if count <= pixels::<S>(HALF) {
            conv_tile::<S, STEP, HALF>(conv, group, x, weights, ahead, tile, fresh);
        } else if count <= pixels::<S>(OVER_HALF) {
            conv_tile::<S, STEP, OVER_HALF>(conv, group, x, weights, ahead, tile, fresh);
        } else {
            conv_tile::<S, STEP, WHOLE>(conv, group, x, weights, ahead, tile, fresh);
        }
    }
}

/// A group's part of one tile, kept in registers: written to `tile` if it is `fresh`, else added. `EXTENT` says how many
/// pixels are computed.
///
/// # Safety
///
/// As for [`convolve`].
#[inline(always)]
unsafe fn conv_tile<S: Simd, const STEP: usize, const EXTENT: u8>(
    conv: &Conv,
    group: Range<usize>,
    x: *const f32,
    weights: *const f32,
    ahead: Ahead,
    tile: *mut f32,
    fresh: bool,
) {
    let pixels = pixels::<S>(EXTENT);
    let (parts, asks) = (const { LANES / (2 * S::WIDTH) }, const { asks::<S>() });
    // Floats of each stream that is asked for, a part and step.
    let ahead_step = (pixels * LANES).div_ceil(parts * (group.len() * (conv.depth / asks)).max(1));
    let next_step = (ahead.share * asks).div_ceil(parts);
    // SAFETY: the caller's contract covers every address below.
    unsafe {
        for part in 0..parts {
            let mut w = weights.add(part * 2 * S::WIDTH);
            let zero = S::splat(0.0);
            let mut acc = [[zero; 2]; MAX_PIXELS];
            // No `map` of the array: without link-time optimization it is a call.
            let [mut first, mut second] = ahead.tiles;
            (first, second) = (first.wrapping_add(part * ahead_step), second.wrapping_add(part * ahead_step));
            let mut next = ahead.next.wrapping_add(part * next_step);
            for unit in group.clone() {
                let (plane, tap) = (unit / conv.taps.len(), unit % conv.taps.len());
                let mut base = x.add(plane * conv.plane).offset(conv.taps[tap]);
                let mut soon = base.wrapping_add(S::PIXELS * STEP + part * LANES / 2);
                for _ in 0..conv.depth / asks {
                    // The first tile's weights, and the next tile's pixels, come from the second-level cache.
                    S::prefetch(soon);
                    soon = soon.wrapping_add(parts * LANES / 2);
                    S::prefetch(first);
                    first = first.wrapping_add(parts * ahead_step);
                    S::prefetch(second);
                    second = second.wrapping_add(parts * ahead_step);
                    S::prefetch_far(next);
                    next = next.wrapping_add(parts * next_step);
                    for c in 0..asks {
                        channel::<S, STEP>(base.add(c), w.add(c * LANES), pixels, &mut acc);
                    }
                    base = base.add(asks);
                    w = w.add(asks * LANES);
                }
                for c in 0..conv.depth % asks {
                    channel::<S, STEP>(base.add(c), w, pixels, &mut acc);
                    w = w.add(LANES);
                }
            }
            for (p, acc) in acc.iter().enumerate().take(pixels) {
                for (v, &acc) in acc.iter().enumerate() {
                    let to = tile.add(p * LANES + (part * 2 + v) * S::WIDTH);
                    S::store(to, if fresh { acc } else { S::add(S::load(to), acc) });
                }
            }
        }
    }
}

/// Adds the outer products of 32 channels `a` (pixel stride 32) and 32 gradients `d` of `count` pixels to
/// `sum`, `[channel][32]`, or writes them there if it is `fresh`. Asks for `count` pixels at each address of `ahead`
/// meanwhile.
///
/// # Safety
///
/// As for [`Simd`]; `a` and `d` must be readable for `count` pixels, `sum` writable for 32 x 32 floats.
#[inline(always)]
pub(super) unsafe fn outer<S: Simd>(
    a: *const f32,
    d: *const f32,
    count: usize,
    ahead: Option<[*const f32; 2]>,
    sum: *mut f32,
    fresh: bool,
) {
    let ahead = ahead.unwrap_or([d; 2]);
    let mut first = 0;
    while first < LANES {
        // The four halves of the pixels, of which every tile asks for one.
        let ahead = ahead[first * 2 / LANES].wrapping_add(first * 2 % LANES);
        let (a, sum) = (a.wrapping_add(first), sum.wrapping_add(first * LANES));
        // SAFETY: the caller's contract.
        unsafe {
            if S::ROWS < 8 && first < 4 * TALL {
                outer_tile::<S, LANES, TALL>(a, d, count, ahead, sum, fresh);
                first += TALL;
            } else {
                rows::<S, LANES>(a, d, count, ahead, sum, fresh);
                first += S::ROWS;
            }
        }
    }
}

/// Channels of a weight gradient's first four tiles where registers are too few for eight: in tiles of four, as the last two
/// are, each multiplication has to wait for the one before it.
const TALL: usize = 6;

/// [`outer_tile`] of `S::ROWS` channels.
///
/// # Safety
///
/// As there.
#[inline(always)]
unsafe fn rows<S: Simd, const STEP: usize>(
    a: *const f32,
    d: *const f32,
    count: usize,
    ahead: *const f32,
    sum: *mut f32,
    fresh: bool,
) {
    // SAFETY: the caller's contract.
    unsafe {
        if S::ROWS == 8 {
            outer_tile::<S, STEP, 8>(a, d, count, ahead, sum, fresh);
        } else {
            outer_tile::<S, STEP, 4>(a, d, count, ahead, sum, fresh);
        }
    }
}

/// The same for 8 channels and any pixel stride.
///
/// # Safety
///
/// As for [`outer`].
#[inline(always)]
pub(super) unsafe fn outer8<S: Simd, const STEP: usize>(
    a: *const f32,
    d: *const f32,
    count: usize,
    sum: *mut f32,
    fresh: bool,
) {
    for first in (0..8).step_by(S::ROWS) {
        // SAFETY: the caller's contract.
        unsafe { rows::<S, STEP>(a.add(first), d, count, d, sum.add(first * LANES), fresh) }
    }
}

/// # Safety
///
/// As for [`outer`], for `ROWS` channels.
#[inline(always)]
unsafe fn outer_tile<S: Simd, const STEP: usize, const ROWS: usize>(
    a: *const f32,
    d: *const f32,
    count: usize,
    ahead: *const f32,
    sum: *mut f32,
    fresh: bool,
) {
    // SAFETY: the caller's contract covers every address below.
    unsafe {
        for part in 0..LANES / (2 * S::WIDTH) {
            let column = part * 2 * S::WIDTH;
            let zero = S::splat(0.0);
            let mut acc = [[zero; 2]; ROWS];
            for r in 0..ROWS {
                for line in (0..2 * S::WIDTH).step_by(LANES / 2) {
                    S::prefetch(sum.add(r * LANES + column + line));
                }
            }
            for p in 0..count {
                S::prefetch(ahead.wrapping_add(p * LANES));
                let d0 = S::load(d.add(p * LANES + column));
                let d1 = S::load(d.add(p * LANES + column + S::WIDTH));
                for (r, acc) in acc.iter_mut().enumerate() {
                    let b = S::splat(*a.add(p * STEP + r));
                    acc[0] = S::mul_add(b, d0, acc[0]);
                    acc[1] = S::mul_add(b, d1, acc[1]);
                }
            }
            for (r, acc) in acc.iter().enumerate() {
                for (v, &acc) in acc.iter().enumerate() {
                    let to = sum.add(r * LANES + column + v * S::WIDTH);
                    S::store(to, if fresh { acc } else { S::add(S::load(to), acc) });
                }
            }
        }
    }
}
