//! The forward pass's kernels, of evaluation and training.

use super::bf16::Bf16;
use super::buffer::{Buffer, Ptr};
use super::lanes::Aligned;
use super::plane::{Halo, NormRelu, Store};
use super::simd::{Kernel, LANES, Simd};
use super::tile::{CHUNK, Conv, Epilogue, NO_ROWS, POINTWISE, convolve};

/// Mean over the pixels of each channel.
pub(super) fn average(y: &[f32], pixels: usize, lanes: &[usize], pooled: &mut [f32]) {
    for (plane, y) in y.chunks_exact(pixels * LANES).enumerate() {
        let mut sum = [0.0f32; LANES];
        for y in y.chunks_exact(LANES) {
            for lane in 0..LANES {
                sum[lane] += y[lane];
            }
        }
        for (pooled, &lane) in pooled.iter_mut().zip(lanes) {
            if lane / LANES == plane {
                *pooled = sum[lane % LANES] / pixels as f32;
            }
        }
    }
}

/// A norm and ReLU to a buffer of the same layout.
pub(super) struct NormTo<'a> {
    pub norm: NormRelu<'a>,
    pub pixels: usize,
    pub y: Ptr,
}

impl Kernel for NormTo<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's contract.
        unsafe { self.norm.run::<S>(0, self.pixels, self.y.0, self.pixels * LANES) }
    }
}

/// Norm, ReLU and 1x1 convolution, chunk by chunk.
pub(super) struct Bottleneck<'a, E> {
    pub norm: NormRelu<'a>,
    pub weights: &'a Buffer,
    /// `planes * (CHUNK + 1) + MAX_PIXELS` pixels; in bf16 as many bytes hold twice as many.
    pub scratch: Ptr,
    /// Output planes that are computed.
    pub outs: (usize, usize),
    pub range: (usize, usize),
    pub then: E,
}

impl<E: Epilogue> Kernel for Bottleneck<'_, E> {
    const BF16: bool = E::BF16;

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let chunk = if S::Half::AVAILABLE { CHUNK } else { CHUNK / S::PIXELS * S::PIXELS };
        let plane = (CHUNK + 1) * LANES;
        for from in (self.range.0..self.range.1).step_by(chunk) {
            let to = (from + chunk).min(self.range.1);
            let conv = Conv {
                x: if S::Half::AVAILABLE {
                    self.scratch.halves().wrapping_sub(from * LANES).cast()
                } else {
                    self.scratch.0.wrapping_sub(from * LANES)
                },
                planes: self.norm.planes,
                plane,
                taps: &[0],
                row: NO_ROWS,
                depth: LANES,
                weights: self.weights.ptr().0,
                outs: self.outs,
                group: POINTWISE,
            };
            // SAFETY: the caller's contract; the scratch holds a chunk of every plane and a tile behind it.
            unsafe {
                self.norm.run::<S>(from, to, self.scratch.0, plane);
                let mut then = BeforeNext { norm: self.norm, then: &mut self.then };
                convolve::<S, _, LANES>(&conv, from, to, &mut then);
            }
        }
    }
}

/// Asks for the next chunk's input while a chunk is computed.
struct BeforeNext<'a, E> {
    norm: NormRelu<'a>,
    then: &'a mut E,
}

impl<E: Epilogue> Epilogue for BeforeNext<'_, E> {
    const BF16: bool = E::BF16;

    #[inline(always)]
    unsafe fn tile<S: Simd>(&mut self, plane: usize, px: usize, count: usize, tile: *const f32) {
        // SAFETY: the caller's contract.
        unsafe { self.then.tile::<S>(plane, px, count, tile) }
    }

    #[inline(always)]
    fn ahead(&self, plane: usize, unit: usize, px: usize, last: bool) -> [Option<*const f32>; 2] {
        // Of a group's input planes, each with one of the output planes.
        let next = self.norm.x.at((unit + plane) * self.norm.plane + (px + CHUNK) * LANES);
        let asked = plane < POINTWISE && unit + plane < self.norm.planes;
        let next = asked.then_some(next.0.cast_const());
        [next, self.then.ahead(plane, unit, px, last)[0]]
    }
}

/// Norm and ReLU, to the rows of a haloed plane, which is in bf16 where 3x3 convolutions are.
pub(super) struct NormReluRows<'a> {
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub y: Ptr,
    pub halo: Halo,
    pub masks: Option<(Ptr, usize)>,
}

impl Epilogue for NormReluRows<'_> {
    const BF16: bool = true;

    #[inline(always)]
    unsafe fn tile<S: Simd>(&mut self, plane: usize, px: usize, count: usize, tile: *const f32) {
        let scale = self.scale[plane * LANES..][..LANES].as_ptr();
        let shift = self.shift[plane * LANES..][..LANES].as_ptr();
        let (mut row, mut column) = (px / self.halo.width, px % self.halo.width);
        let mut line = Aligned([0.0f32; LANES]);
        for p in 0..count {
            // SAFETY: the caller's contract; the pixel lies in the haloed plane.
            unsafe {
                let at = plane * self.halo.plane() + (row * self.halo.row() + column) * LANES;
                let y = if S::Half::SPATIAL { line.0.as_mut_ptr() } else { self.y.0.add(at) };
                let mut bits = 0;
                for v in (0..LANES).step_by(S::WIDTH) {
                    let x = S::load(tile.add(p * LANES + v));
                    let r = S::relu(S::mul_add(x, S::load(scale.add(v)), S::load(shift.add(v))));
                    S::store(y.add(v), r);
                    bits |= S::active(r) << v;
                }
                if S::Half::SPATIAL {
                    S::Half::round(y, self.y.halves().add(at));
                }
                if let Some((masks, mask_plane)) = self.masks {
                    *masks.bits().add(plane * mask_plane + px + p) = bits;
                }
            }
            column += 1;
            if column == self.halo.width {
                (row, column) = (row + 1, 0);
            }
        }
    }
}

/// Norm, ReLU and 2x2 average of all planes, to bf16 where the level multiplies in it.
pub(super) struct NormPool<'a> {
    pub norm: NormRelu<'a>,
    pub halo: Halo,
    pub y: Ptr,
}

impl NormPool<'_> {
    /// Pixels `from..to` of planes `planes.0..planes.1` of the output.
    ///
    /// # Safety
    ///
    /// As for [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd>(&self, planes: (usize, usize), from: usize, to: usize) {
        let (width, out_width) = (self.halo.width, self.halo.width / 2);
        let pixels = out_width * (self.halo.height / 2);
        for plane in planes.0..planes.1 {
            let scale = self.norm.scale[plane * LANES..][..LANES].as_ptr();
            let shift = self.norm.shift[plane * LANES..][..LANES].as_ptr();
            let mut line = Aligned([0.0f32; LANES]);
            for out in from..to {
                let at = (plane * pixels + out) * LANES;
                let y = if S::Half::AVAILABLE { line.0.as_mut_ptr() } else { self.y.at(at).0 };
                let first = out / out_width * 2 * width + out % out_width * 2;
                let under = [first, first + 1, first + width, first + width + 1];
                let mut bits = [0; 4];
                for v in (0..LANES).step_by(S::WIDTH) {
                    // SAFETY: the caller's contract; four pixels of the input lie under each of the output.
                    unsafe {
                        let (scale, shift) = (S::load(scale.add(v)), S::load(shift.add(v)));
                        let mut sum = S::splat(0.0);
                        for (px, bits) in under.iter().zip(&mut bits) {
                            let x = S::load(self.norm.x.0.add(plane * self.norm.plane + px * LANES + v));
                            let r = S::relu(S::mul_add(x, scale, shift));
                            sum = S::add(sum, r);
                            *bits |= S::active(r) << v;
                        }
                        S::store(y.add(v), S::mul(sum, S::splat(0.25)));
                    }
                }
                if S::Half::AVAILABLE {
                    // SAFETY: the caller's contract.
                    unsafe { S::Half::round(y, self.y.halves().add(at)) };
                }
                if let Some((masks, mask_plane)) = self.norm.masks {
                    for (px, bits) in under.iter().zip(bits) {
                        // SAFETY: the masks hold the input's pixels, and these four lie under one of the output's.
                        unsafe { *masks.bits().add(plane * mask_plane + px) = bits };
                    }
                }
            }
        }
    }
}

/// A transition: the average comes before the 1x1 convolution, which is exact and a quarter of the work.
pub(super) struct Transition<'a> {
    pub pool: NormPool<'a>,
    pub weights: &'a Buffer,
    pub out_planes: usize,
    /// Of the output's pixels.
    pub range: (usize, usize),
    pub y: Ptr,
}

impl Kernel for Transition<'_> {
    const BF16: bool = true;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pixels = (self.pool.halo.height / 2) * (self.pool.halo.width / 2);
        let conv = Conv {
            x: self.pool.y.0,
            planes: self.pool.norm.planes,
            plane: pixels * LANES,
            taps: &[0],
            row: NO_ROWS,
            depth: LANES,
            weights: self.weights.ptr().0,
            outs: (0, self.out_planes),
            group: POINTWISE,
        };
        // SAFETY: the caller's contract; the pooled buffer has room for a tile behind its end.
        unsafe {
            self.pool.run::<S>((0, self.pool.norm.planes), self.range.0, self.range.1);
            convolve::<S, _, LANES>(
                &conv,
                self.range.0,
                self.range.1,
                &mut Store { y: self.y, plane: pixels * LANES },
            );
        }
    }
}
