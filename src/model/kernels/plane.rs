//! Geometry of the haloed planes, and the elementwise kernels.

use super::bf16::{self, Bf16};
use super::buffer::{Buffer, Ptr};
use super::lanes::Aligned;
use super::simd::{Kernel, LANES, MAX_PIXELS, Simd};
use super::tile::{CHUNK, Epilogue};

/// A plane with a zero halo, whose rows share the halo's column: tap offsets are constant and a convolution is one
/// stream over `height * (width + 1)` pixels.
#[derive(Clone, Copy)]
pub(super) struct Halo {
    pub height: usize,
    pub width: usize,
}

impl Halo {
    pub(super) fn row(self) -> usize {
        self.width + 1
    }
    /// Floats before the first pixel.
    pub(super) fn lead(self) -> usize {
        (self.row() + 1) * LANES
    }
    /// Pixels of the stream, up to the last that counts.
    pub(super) fn stream(self) -> usize {
        self.height * self.row() - 1
    }
    /// Floats of a plane, with what a tile may read behind its end.
    pub(super) fn plane(self) -> usize {
        2 * self.lead() + (self.stream() + MAX_PIXELS) * LANES
    }
    /// Offsets of the nine taps.
    pub(super) fn taps(self) -> [isize; 9] {
        std::array::from_fn(|t| {
            let (r, c) = (t as isize / 3 - 1, t as isize % 3 - 1);
            (r * self.row() as isize + c) * LANES as isize
        })
    }
    /// A buffer of haloed planes, in float32 or bf16; everything but the pixels is zero.
    pub(super) fn planes(self, count: usize, half: bool) -> Buffer {
        // Room for the tile behind the last plane, which in bf16 is longer than that which every plane has.
        let mut planes = Buffer::new(count * self.plane() + bf16::MAX_PIXELS * LANES);
        if half {
            self.clear(&mut planes.halves()[..count * self.plane()])
        } else {
            self.clear(&mut planes)
        }
        planes
    }
    /// Zeroes everything but the pixels.
    pub(super) fn clear<T: Copy + Default>(self, planes: &mut [T]) {
        for plane in planes.chunks_exact_mut(self.plane()) {
            let (top, rest) = plane.split_at_mut(self.lead());
            top.fill(T::default());
            let (pixels, bottom) = rest.split_at_mut(self.height * self.row() * LANES);
            bottom.fill(T::default());
            for row in pixels.chunks_exact_mut(self.row() * LANES) {
                row[self.width * LANES..].fill(T::default());
            }
        }
    }
}

/// `y = relu(x * scale + shift)` on pixels `from..to` of every plane, with a bit where the gradient passes; `y` is in
/// bf16 where the level multiplies in it.
#[derive(Clone, Copy)]
pub(super) struct NormRelu<'a> {
    pub x: Ptr,
    /// Floats between the planes of `x`.
    pub plane: usize,
    pub planes: usize,
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    /// `[plane][mask_plane]`, if wanted.
    pub masks: Option<(Ptr, usize)>,
}

impl NormRelu<'_> {
    /// # Safety
    ///
    /// As for [`Simd`]; `y`, `[plane][y_plane numbers]`, receives pixel `from` first.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd>(&self, from: usize, to: usize, y: *mut f32, y_plane: usize) {
        // SAFETY: the caller's contract.
        unsafe { self.some::<S>((0, self.planes), from, to, y, y_plane) }
    }

    /// [`NormRelu::run`] of planes `planes.0..planes.1` only.
    ///
    /// # Safety
    ///
    /// As there.
    #[inline(always)]
    pub(super) unsafe fn some<S: Simd>(
        &self,
        planes: (usize, usize),
        from: usize,
        to: usize,
        y: *mut f32,
        y_plane: usize,
    ) {
        debug_assert!(self.scale.len() >= self.planes * LANES && self.shift.len() >= self.planes * LANES);
        debug_assert!(planes.1 <= self.planes);
        for plane in planes.0..planes.1 {
            // SAFETY: the caller's contract; the coefficients cover all planes.
            unsafe {
                let zero = S::splat(0.0);
                let (mut scale, mut shift) = ([zero; 8], [zero; 8]);
                for v in 0..LANES / S::WIDTH {
                    scale[v] = S::load(self.scale.as_ptr().add(plane * LANES + v * S::WIDTH));
                    shift[v] = S::load(self.shift.as_ptr().add(plane * LANES + v * S::WIDTH));
                }
                let x = self.x.0.add(plane * self.plane);
                let half = y.cast::<u16>().add(plane * y_plane);
                let y = y.add(plane * y_plane);
                let mut line = Aligned([0.0f32; LANES]);
                for px in from..to {
                    let mut bits = 0;
                    let y = if S::Half::AVAILABLE { line.0.as_mut_ptr() } else { y.add((px - from) * LANES) };
                    for v in 0..LANES / S::WIDTH {
                        let at = px * LANES + v * S::WIDTH;
                        let r = S::relu(S::mul_add(S::load(x.add(at)), scale[v], shift[v]));
                        S::store(y.add(v * S::WIDTH), r);
                        if self.masks.is_some() {
                            bits |= S::active(r) << (v * S::WIDTH);
                        }
                    }
                    if S::Half::AVAILABLE {
                        S::Half::round(y, half.add((px - from) * LANES));
                    }
                    if let Some((masks, mask_plane)) = self.masks {
                        *masks.bits().add(plane * mask_plane + px) = bits;
                    }
                }
            }
        }
    }
}

/// `y = c1 * d + c2 + c3 * (x - mean)`: a batch norm's gradient with respect to its input.
#[derive(Clone, Copy)]
pub(super) struct NormBack<'a> {
    pub d: Ptr,
    pub x: Ptr,
    /// Floats between the planes of `d` and of `x`.
    pub plane: usize,
    pub c1: &'a [f32],
    pub c2: &'a [f32],
    pub c3: &'a [f32],
    pub mean: &'a [f32],
}

impl NormBack<'_> {
    /// Pixels `from..from + count` of one plane, to `y`.
    ///
    /// # Safety
    ///
    /// As for [`Simd`]; `y` receives pixel `from` first.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd>(&self, plane: usize, from: usize, count: usize, y: *mut f32) {
        let lanes = plane * LANES..(plane + 1) * LANES;
        let [c1, c2, c3, mean] = [self.c1, self.c2, self.c3, self.mean].map(|c| c[lanes.clone()].as_ptr());
        for v in (0..LANES).step_by(S::WIDTH) {
            // SAFETY: the caller's contract; the coefficients were checked to cover the plane.
            unsafe {
                let (c1, c2, c3) = (S::load(c1.add(v)), S::load(c2.add(v)), S::load(c3.add(v)));
                let mean = S::load(mean.add(v));
                let at = plane * self.plane + from * LANES + v;
                let (d, x, y) = (self.d.0.add(at), self.x.0.add(at), y.add(v));
                for px in 0..count {
                    let centred = S::sub(S::load(x.add(px * LANES)), mean);
                    let r = S::mul_add(c3, centred, S::mul_add(c1, S::load(d.add(px * LANES)), c2));
                    S::store(y.add(px * LANES), r);
                }
            }
        }
    }
}

/// Writes a tile as it is.
pub(super) struct Store {
    pub y: Ptr,
    pub plane: usize,
}

impl Epilogue for Store {
    const BF16: bool = true;

    #[inline(always)]
    unsafe fn tile<S: Simd>(&mut self, plane: usize, px: usize, count: usize, tile: *const f32) {
        // SAFETY: the caller's contract.
        unsafe {
            std::ptr::copy_nonoverlapping(tile, self.y.0.add(plane * self.plane + px * LANES), count * LANES)
        }
    }

    #[inline(always)]
    fn ahead(&self, plane: usize, _unit: usize, px: usize, last: bool) -> [Option<*const f32>; 2] {
        [last.then(|| self.y.at(plane * self.plane + px * LANES).0.cast_const()), None]
    }
}

/// Hands a tile of a haloed stream on by its rows, without the halo.
pub(super) struct Rows<E> {
    pub halo: Halo,
    pub then: E,
}

impl<E: Epilogue> Epilogue for Rows<E> {
    const BF16: bool = E::BF16;

    #[inline(always)]
    unsafe fn tile<S: Simd>(&mut self, plane: usize, px: usize, count: usize, tile: *const f32) {
        let (mut row, mut column) = (px / self.halo.row(), px % self.halo.row());
        let mut done = 0;
        while done < count {
            let length = (self.halo.row() - column).min(count - done);
            let inside = length.min(self.halo.width - column.min(self.halo.width));
            if inside > 0 {
                // SAFETY: the caller's contract, for the part of the tile in this row.
                unsafe {
                    self.then.tile::<S>(
                        plane,
                        row * self.halo.width + column,
                        inside,
                        tile.add(done * LANES),
                    );
                }
            }
            done += length;
            (row, column) = (row + 1, 0);
        }
    }

    #[inline(always)]
    fn ahead(&self, plane: usize, unit: usize, px: usize, last: bool) -> [Option<*const f32>; 2] {
        self.then.ahead(plane, unit, px - px / self.halo.row(), last)
    }
}

/// Sum, and sum of squares, of each lane over the pixels of some planes, with float64 totals.
pub(super) struct Moments<'a> {
    pub x: Ptr,
    pub plane: usize,
    pub pixels: usize,
    pub sum: &'a mut [f64],
    pub squares: &'a mut [f64],
}

impl Kernel for Moments<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for plane in 0..self.sum.len() / LANES {
            for from in (0..self.pixels).step_by(CHUNK) {
                let count = CHUNK.min(self.pixels - from);
                let (mut sum, mut square) = ([0.0f32; LANES], [0.0f32; LANES]);
                for v in (0..LANES).step_by(S::WIDTH) {
                    // SAFETY: the caller's contract: the planes have `pixels` pixels.
                    unsafe {
                        let x = self.x.0.add(plane * self.plane + from * LANES + v);
                        let zero = S::splat(0.0);
                        let mut s = [zero; 2];
                        for p in 0..count {
                            s[p & 1] = S::add(s[p & 1], S::load(x.add(p * LANES)));
                        }
                        let total = S::add(s[0], s[1]);
                        let mean = S::mul(total, S::splat(1.0 / count as f32));
                        // Squares around the chunk's own mean: no cancellation where the mean is large.
                        let mut q = [zero; 2];
                        for p in 0..count {
                            let centred = S::sub(S::load(x.add(p * LANES)), mean);
                            q[p & 1] = S::mul_add(centred, centred, q[p & 1]);
                        }
                        S::store(sum.as_mut_ptr().add(v), total);
                        S::store(square.as_mut_ptr().add(v), S::add(q[0], q[1]));
                    }
                }
                for lane in 0..LANES {
                    // The mean that was subtracted, as it was rounded, and the exact shift back to squares about zero.
                    let total = f64::from(sum[lane]);
                    let mean = f64::from(sum[lane] * (1.0 / count as f32));
                    self.sum[plane * LANES + lane] += total;
                    self.squares[plane * LANES + lane] +=
                        f64::from(square[lane]) + mean * (2.0 * total - count as f64 * mean);
                }
            }
        }
    }
}
