//! The backward pass's kernels with weight gradients, and their epilogues.

use super::buffer::{Buffer, Ptr};
use super::forward_kernels::NormPool;
use super::plane::{Halo, NormBack, NormRelu};
use super::reduce::{Sums, WeightSum};
use super::simd::{Kernel, LANES, Simd};
use super::tile::{CHUNK, Conv, Epilogue, NO_ROWS, POINTWISE, convolve, outer};

/// Where a kernel adds the sums of its gradients `d`, and of `d * (x - mean)`, a lane.
#[derive(Clone, Copy)]
pub(super) struct SumTargets {
    d: Ptr,
    dx: Ptr,
}

impl SumTargets {
    pub(super) fn new(sums: &mut Sums) -> Self {
        let (d, dx) = sums.targets();
        SumTargets { d, dx }
    }
}

/// A vector of such sums while it is in registers.
struct LaneSums<S: Simd> {
    mean: S::V,
    d: S::V,
    dx: S::V,
}

impl<S: Simd> LaneSums<S> {
    /// # Safety
    ///
    /// As for [`Simd`].
    #[inline(always)]
    unsafe fn new(means: &[f32], lane: usize) -> Self {
        // SAFETY: the caller's contract, and the slice's own check.
        unsafe { LaneSums { mean: load::<S>(means, lane), d: S::splat(0.0), dx: S::splat(0.0) } }
    }

    /// # Safety
    ///
    /// As for [`Simd`].
    #[inline(always)]
    unsafe fn take(&mut self, d: S::V, x: S::V) {
        // SAFETY: the caller's contract.
        unsafe {
            self.d = S::add(self.d, d);
            self.dx = S::mul_add(d, S::sub(x, self.mean), self.dx);
        }
    }

    /// # Safety
    ///
    /// As for [`Simd`]; `lane` must be one of the sums' lanes.
    #[inline(always)]
    unsafe fn finish(self, sums: SumTargets, lane: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            for (to, v) in [(sums.d.0, self.d), (sums.dx.0, self.dx)] {
                S::store(to.add(lane), S::add(S::load(to.add(lane)), v));
            }
        }
    }
}

/// A vector of coefficients, which come one a lane.
///
/// # Safety
///
/// As for [`Simd`].
#[inline(always)]
unsafe fn load<S: Simd>(coefficients: &[f32], lane: usize) -> S::V {
    // SAFETY: the caller's contract, and the slice's own check.
    unsafe { S::load(coefficients[lane..][..S::WIDTH].as_ptr()) }
}

/// Gradient of the last block's features from that of the pooled ones.
pub(super) struct FeaturesBack<'a> {
    pub norm: NormRelu<'a>,
    pub mean: &'a [f32],
    /// Gradient of every pixel, a lane.
    pub d: &'a [f32],
    pub pixels: usize,
    pub g: Ptr,
    pub sums: SumTargets,
}

impl Kernel for FeaturesBack<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for lane in (0..self.norm.planes * LANES).step_by(S::WIDTH) {
            // SAFETY: the caller's contract.
            unsafe {
                let (scale, shift) = (load::<S>(self.norm.scale, lane), load::<S>(self.norm.shift, lane));
                let (d, mut sums) = (load::<S>(self.d, lane), LaneSums::<S>::new(self.mean, lane));
                let at = lane / LANES * self.norm.plane + lane % LANES;
                for px in 0..self.pixels {
                    let x = S::load(self.norm.x.0.add(at + px * LANES));
                    let bits = S::active(S::mul_add(x, scale, shift));
                    let dz = S::keep(bits, d);
                    sums.take(dz, x);
                    S::store(self.g.0.add(at + px * LANES), S::mul(dz, scale));
                }
                sums.finish(self.sums, lane);
            }
        }
    }
}

/// [`NormBack`] of whole planes, `planes.0..planes.1`.
pub(super) struct NormBackTo<'a> {
    pub back: NormBack<'a>,
    pub planes: (usize, usize),
    pub pixels: usize,
    pub y: Ptr,
}

impl Kernel for NormBackTo<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for plane in self.planes.0..self.planes.1 {
            // SAFETY: the caller's contract.
            unsafe { self.back.run::<S>(plane, 0, self.pixels, self.y.0.add(plane * self.pixels * LANES)) }
        }
    }
}

/// [`NormBack`] of planes `first..first + planes` into haloed planes.
pub(super) struct NormBackHalo<'a> {
    pub back: NormBack<'a>,
    pub first: usize,
    pub planes: usize,
    pub halo: Halo,
    pub rows: (usize, usize),
    pub y: Ptr,
}

impl Kernel for NormBackHalo<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (halo, width, (from, to)) = (self.halo, self.halo.width, self.rows);
        for (plane, row) in (0..self.planes).flat_map(|plane| (from..to).map(move |row| (plane, row))) {
            let y = self.y.at(plane * halo.plane() + halo.lead() + row * halo.row() * LANES);
            // SAFETY: the caller's contract.
            unsafe { self.back.run::<S>(self.first + plane, row * width, width, y.0) }
        }
    }
}

/// Weight gradient of a 3x3 convolution, from haloed inputs and gradients.
pub(super) struct GrowWeights {
    pub a: Ptr,
    pub dy: Ptr,
    pub halo: Halo,
    /// Input planes whose weights' gradients are computed.
    pub planes: (usize, usize),
    pub out_planes: usize,
    pub sum: WeightSum,
}

impl Kernel for GrowWeights {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (halo, taps) = (self.halo, self.halo.taps());
        // The halo's columns take part: their gradient is zero.
        for from in (0..halo.stream()).step_by(CHUNK) {
            let count = CHUNK.min(halo.stream() - from);
            let at = halo.lead() + from * LANES;
            for plane in self.planes.0..self.planes.1 {
                for (t, &tap) in taps.iter().enumerate() {
                    for out in 0..self.out_planes {
                        // SAFETY: the caller's contract; a tap stays in the haloed plane.
                        unsafe {
                            let a = self.a.0.add(plane * halo.plane() + at).offset(tap);
                            let d = self.dy.0.add(out * halo.plane() + at);
                            let sum = ((plane * 9 + t) * self.out_planes + out) * LANES * LANES;
                            outer::<S>(
                                a,
                                d,
                                count,
                                None,
                                self.sum.to.0.add(sum),
                                self.sum.fresh && from == 0,
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Behind a 3x3 convolution's input gradient: ReLU, and the norm's sums.
pub(super) struct GrowBack<'a> {
    /// The ReLU's output, haloed.
    pub a: Ptr,
    pub halo: Halo,
    /// The norm's input.
    pub x: Ptr,
    pub mean: &'a [f32],
    pub y: Ptr,
    /// Floats between the planes of `x` and `y`.
    pub plane: usize,
    pub sums: SumTargets,
}

impl Epilogue for GrowBack<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd>(&mut self, plane: usize, px: usize, count: usize, tile: *const f32) {
        // All pixels lie in one row.
        let stream = px / self.halo.width * self.halo.row() + px % self.halo.width;
        for v in (0..LANES).step_by(S::WIDTH) {
            // SAFETY: the caller's contract.
            unsafe {
                let a = self.a.0.add(plane * self.halo.plane() + self.halo.lead() + stream * LANES + v);
                let at = plane * self.plane + px * LANES + v;
                let mut sums = LaneSums::<S>::new(self.mean, plane * LANES + v);
                for p in 0..count {
                    let bits = S::active(S::load(a.add(p * LANES)));
                    let dz = S::keep(bits, S::load(tile.add(p * LANES + v)));
                    sums.take(dz, S::load(self.x.0.add(at + p * LANES)));
                    S::store(self.y.0.add(at + p * LANES), dz);
                }
                sums.finish(self.sums, plane * LANES + v);
            }
        }
    }

    #[inline(always)]
    fn ahead(&self, plane: usize, _unit: usize, px: usize, last: bool) -> [Option<*const f32>; 2] {
        let at = plane * self.plane + px * LANES;
        if last { [Some(self.x.at(at).0), Some(self.y.at(at).0)] } else { [None; 2] }
    }
}

/// Weight and input gradients of norm, ReLU and 1x1 convolution, chunk by chunk.
pub(super) struct BottleneckWeights<'a> {
    pub norm: NormRelu<'a>,
    /// Gradient of the convolution's output.
    pub back: NormBack<'a>,
    pub mid_planes: usize,
    pub weights: &'a Buffer,
    /// `(planes + mid_planes) * (CHUNK + 1) + MAX_PIXELS` pixels.
    pub scratch: Ptr,
    pub pixels: usize,
    /// Input planes whose gradients, and whose weights', are computed.
    pub range: (usize, usize),
    pub sum: WeightSum,
    pub then: BottleneckBack<'a>,
}

impl Kernel for BottleneckWeights<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let (chunk, plane) = (CHUNK / S::PIXELS * S::PIXELS, (CHUNK + 1) * LANES);
        let (a, d) = (self.scratch.0, self.scratch.at(self.norm.planes * plane).0);
        for from in (0..self.pixels).step_by(chunk) {
            let to = (from + chunk).min(self.pixels);
            // SAFETY: the caller's contract; the scratch holds a chunk of every plane and a tile behind it.
            unsafe {
                self.norm.some::<S>(self.range, from, to, a, plane);
                for mid in 0..self.mid_planes {
                    self.back.run::<S>(mid, from, to - from, d.add(mid * plane));
                }
                for (p, mid) in
                    (self.range.0..self.range.1).flat_map(|p| (0..self.mid_planes).map(move |mid| (p, mid)))
                {
                    let sum = self.sum.to.0.add((p * self.mid_planes + mid) * LANES * LANES);
                    let at = mid * self.back.plane + to * LANES;
                    let ahead = (p == self.range.0)
                        .then(|| [self.back.d.at(at).0.cast_const(), self.back.x.at(at).0]);
                    let fresh = self.sum.fresh && from == 0;
                    outer::<S>(a.add(p * plane), d.add(mid * plane), to - from, ahead, sum, fresh);
                }
                self.then.first = from;
                let conv = Conv {
                    x: d.wrapping_sub(from * LANES),
                    planes: self.mid_planes,
                    plane,
                    taps: &[0],
                    row: NO_ROWS,
                    depth: LANES,
                    weights: self.weights.ptr().0,
                    outs: self.range,
                    group: POINTWISE,
                };
                convolve::<S, _, LANES>(&conv, from, to, &mut self.then);
            }
        }
    }
}

/// Behind the 1x1 convolution's input gradient: ReLU, the norm's sums, and the norm's scale.
pub(super) struct BottleneckBack<'a> {
    /// The ReLU's output, a chunk of every plane from pixel `first`.
    pub a: Ptr,
    pub first: usize,
    pub x: Ptr,
    /// Floats between the planes of `x` and `y`.
    pub plane: usize,
    pub mean: &'a [f32],
    pub scale: &'a [f32],
    /// The features' gradient, which is added to.
    pub y: Ptr,
    pub sums: SumTargets,
}

impl Epilogue for BottleneckBack<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd>(&mut self, plane: usize, px: usize, count: usize, tile: *const f32) {
        for v in (0..LANES).step_by(S::WIDTH) {
            // SAFETY: the caller's contract.
            unsafe {
                let a = self.a.0.add(plane * (CHUNK + 1) * LANES + (px - self.first) * LANES + v);
                let at = plane * self.plane + px * LANES + v;
                let scale = load::<S>(self.scale, plane * LANES + v);
                let mut sums = LaneSums::<S>::new(self.mean, plane * LANES + v);
                for p in 0..count {
                    let bits = S::active(S::load(a.add(p * LANES)));
                    let dz = S::keep(bits, S::load(tile.add(p * LANES + v)));
                    sums.take(dz, S::load(self.x.0.add(at + p * LANES)));
                    let y = self.y.0.add(at + p * LANES);
                    S::store(y, S::mul_add(dz, scale, S::load(y)));
                }
                sums.finish(self.sums, plane * LANES + v);
            }
        }
    }

    #[inline(always)]
    fn ahead(&self, plane: usize, _unit: usize, px: usize, _last: bool) -> [Option<*const f32>; 2] {
        // The gradient that this tile is added to, and the next chunk's input.
        let at = plane * self.plane + px * LANES;
        [Some(self.y.at(at).0), Some(self.x.at(at + CHUNK * LANES).0)]
    }
}

/// Weight gradient of a transition's convolution.
pub(super) struct PooledWeights<'a> {
    pub pool: NormPool<'a>,
    pub dy: Ptr,
    pub pixels: usize,
    /// Input planes whose weights' gradients are computed.
    pub planes: (usize, usize),
    pub out_planes: usize,
    pub sum: WeightSum,
}

impl Kernel for PooledWeights<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let plane = self.pixels * LANES;
        // SAFETY: the caller's contract.
        unsafe { self.pool.run::<S>(self.planes, 0, self.pixels) };
        for from in (0..self.pixels).step_by(CHUNK) {
            let count = CHUNK.min(self.pixels - from);
            for (p, out) in
                (self.planes.0..self.planes.1).flat_map(|p| (0..self.out_planes).map(move |out| (p, out)))
            {
                // SAFETY: the caller's contract; both planes have these pixels, and the sums all pairs of planes.
                unsafe {
                    let (a, d) = (
                        self.pool.y.0.add(p * plane + from * LANES),
                        self.dy.0.add(out * plane + from * LANES),
                    );
                    let sum = self.sum.to.0.add((p * self.out_planes + out) * LANES * LANES);
                    outer::<S>(a, d, count, None, sum, self.sum.fresh && from == 0);
                }
            }
        }
    }
}

/// Behind a transition's convolution, backwards: the average, ReLU, the norm's sums, and the norm's scale.
pub(super) struct SpreadBack<'a> {
    pub norm: NormRelu<'a>,
    pub halo: Halo,
    pub mean: &'a [f32],
    /// The features' gradient.
    pub y: Ptr,
    pub sums: SumTargets,
}

impl Epilogue for SpreadBack<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd>(&mut self, plane: usize, px: usize, count: usize, tile: *const f32) {
        let (width, out_width) = (self.halo.width, self.halo.width / 2);
        for v in (0..LANES).step_by(S::WIDTH) {
            // SAFETY: the caller's contract; four pixels lie under each of the average's.
            unsafe {
                let lane = plane * LANES + v;
                let (scale, shift) = (load::<S>(self.norm.scale, lane), load::<S>(self.norm.shift, lane));
                let mut sums = LaneSums::<S>::new(self.mean, lane);
                for p in 0..count {
                    let d = S::mul(S::load(tile.add(p * LANES + v)), S::splat(0.25));
                    let first = (px + p) / out_width * 2 * width + (px + p) % out_width * 2;
                    for pixel in [first, first + 1, first + width, first + width + 1] {
                        let at = plane * self.norm.plane + pixel * LANES + v;
                        let x = S::load(self.norm.x.0.add(at));
                        let dz = S::keep(S::active(S::mul_add(x, scale, shift)), d);
                        sums.take(dz, x);
                        S::store(self.y.0.add(at), S::mul(dz, scale));
                    }
                }
                sums.finish(self.sums, plane * LANES + v);
            }
        }
    }
}

/// norm0's sums.
pub(super) struct StemSums<'a> {
    pub d: Ptr,
    pub x: Ptr,
    pub planes: (usize, usize),
    pub pixels: usize,
    pub mean: &'a [f32],
    pub sums: SumTargets,
}

impl Kernel for StemSums<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (plane, from) in (self.planes.0..self.planes.1)
            .flat_map(|p| (0..self.pixels).step_by(CHUNK).map(move |from| (p, from)))
        {
            for v in (0..LANES).step_by(S::WIDTH) {
                // SAFETY: the caller's contract.
                unsafe {
                    let at = (plane * self.pixels + from) * LANES + v;
                    let mut sums = LaneSums::<S>::new(self.mean, plane * LANES + v);
                    for p in 0..CHUNK.min(self.pixels - from) {
                        sums.take(
                            S::load(self.d.0.add(at + p * LANES)),
                            S::load(self.x.0.add(at + p * LANES)),
                        );
                    }
                    sums.finish(self.sums, plane * LANES + v);
                }
            }
        }
    }
}
