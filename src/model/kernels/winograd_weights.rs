//! Weight gradients of 3x3 convolutions with a quarter of the multiplications, at the points of [`super::winograd`]: the
//! transposes of its three transforms.
//!
//! Where `y = A^T ((G g G^T) * (B^T d B)) A`, the gradient of the weights g is `G^T ((A dy A^T) * (B^T d B)) G`. The product at
//! each point is added up over tiles and images, and only the sum is taken back.

use super::buffer::Ptr;
use super::plane::Halo;
use super::simd::{Kernel, LANES, Simd};
use super::tile::outer;
use super::winograd::{BLOCK, Tiles};
use super::winograd_points::{FAR, FAR_SCALE, FAR2, IN, NEAR, NEAR_SCALE, NEAR2, OUT, POINTS, ZERO_SCALE};

/// The most tiles that are transformed before they are multiplied: the points of two planes stay in a second-level cache.
const GROUP: usize = 56;

/// Floats between the points of a plane: an odd number of pixels, as otherwise a tile's points would share few sets of a
/// cache.
const STRIDE: usize = (GROUP + 1) * LANES;

/// Floats of the working memory of one [`PointSums`].
pub(super) fn scratch(out_planes: usize) -> usize {
    POINTS * STRIDE * (1 + out_planes)
}

/// Floats of the sums at the points, `[in plane][out plane][point][in][out]`.
pub(super) fn sums(in_planes: usize, out_planes: usize) -> usize {
    in_planes * out_planes * POINTS * BLOCK
}

/// Adds an image's products at the points, from haloed inputs and gradients, to their sums.
pub(super) struct PointSums {
    pub x: Ptr,
    pub dy: Ptr,
    pub halo: Halo,
    /// Input planes whose weights' gradients are computed.
    pub planes: (usize, usize),
    pub out_planes: usize,
    /// [`scratch()`] floats.
    pub scratch: Ptr,
    /// [`sums()`] floats.
    pub to: Ptr,
    /// Nothing was added yet, and the memory holds anything.
    pub fresh: bool,
}

impl Kernel for PointSums {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let tiles = Tiles::of(self.halo);
        let (v, d) = (self.scratch, self.scratch.at(POINTS * STRIDE));
        for first in (0..tiles.count()).step_by(GROUP) {
            let count = GROUP.min(tiles.count() - first);
            // SAFETY: the caller's contract; the scratch holds the points of so many tiles.
            unsafe {
                for (out, tile) in
                    (0..self.out_planes).flat_map(|out| (0..count).map(move |tile| (out, tile)))
                {
                    let to = d.at(out * POINTS * STRIDE + tile * LANES);
                    self.gradient_points::<S>(tiles.corner(first + tile), out, to.0);
                }
                for plane in self.planes.0..self.planes.1 {
                    for tile in 0..count {
                        tiles.input_points::<S>(first + tile, (self.x, plane), v.at(tile * LANES).0, STRIDE);
                    }
                    for index in 0..self.out_planes * POINTS {
                        let (a, d) = (v.at(index % POINTS * STRIDE), d.at(index * STRIDE));
                        let sum = self.to.at((plane * self.out_planes * POINTS + index) * BLOCK);
                        outer::<S>(a.0, d.0, count, None, sum.0, self.fresh && first == 0);
                    }
                }
            }
        }
    }
}

impl PointSums {
    /// `A dy A^T` of a tile's 4x4 gradients.
    ///
    /// # Safety
    ///
    /// As for [`Simd`]; the plane must be readable and the points writable.
    #[inline(always)]
    unsafe fn gradient_points<S: Simd>(&self, (row, column): (usize, usize), plane: usize, to: *mut f32) {
        let halo = self.halo;
        let corner = plane * halo.plane() + halo.lead() + (row * halo.row() + column) * LANES;
        let (rows, columns) = (OUT.min(halo.height - row), OUT.min(halo.width - column));
        for v in (0..LANES).step_by(S::WIDTH) {
            // SAFETY: the caller's contract.
            unsafe {
                let mut lines = [[S::splat(0.0); OUT]; IN];
                for column in 0..columns {
                    let mut gradients = [S::splat(0.0); OUT];
                    for (r, gradient) in gradients.iter_mut().enumerate().take(rows) {
                        *gradient = S::load(self.dy.0.add(corner + (r * halo.row() + column) * LANES + v));
                    }
                    for (line, point) in lines.iter_mut().zip(at_points::<S>(gradients)) {
                        line[column] = point;
                    }
                }
                for (r, line) in lines.into_iter().enumerate() {
                    for (c, point) in at_points::<S>(line).into_iter().enumerate() {
                        S::store(to.add((r * IN + c) * STRIDE + v), point);
                    }
                }
            }
        }
    }
}

/// `A y`: a polynomial's values at the points.
///
/// # Safety
///
/// As for [`Simd`].
#[inline(always)]
unsafe fn at_points<S: Simd>(y: [S::V; OUT]) -> [S::V; IN] {
    // SAFETY: the caller's contract.
    unsafe {
        let near = S::mul_add(S::splat(NEAR2), y[2], y[0]);
        let near_odd = S::mul(S::splat(NEAR), S::mul_add(S::splat(NEAR2), y[3], y[1]));
        let far = S::mul_add(S::splat(FAR2), y[2], y[0]);
        let far_odd = S::mul(S::splat(FAR), S::mul_add(S::splat(FAR2), y[3], y[1]));
        [
            y[0],
            S::add(near, near_odd),
            S::sub(near, near_odd),
            S::add(far, far_odd),
            S::sub(far, far_odd),
            y[3],
        ]
    }
}

/// The weights' gradients, `[in plane][tap][out plane][in][out]`, from the sums at the points.
pub(super) struct WeightsOfSums {
    /// [`sums()`] floats.
    pub from: Ptr,
    /// Input planes whose weights' gradients are computed.
    pub planes: (usize, usize),
    pub out_planes: usize,
    pub to: Ptr,
}

impl Kernel for WeightsOfSums {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (plane, out) in
            (self.planes.0..self.planes.1).flat_map(|plane| (0..self.out_planes).map(move |out| (plane, out)))
        {
            for at in (0..BLOCK).step_by(S::WIDTH) {
                // SAFETY: the caller's contract.
                unsafe {
                    let from = self.from.at((plane * self.out_planes + out) * POINTS * BLOCK + at);
                    let mut rows = [[S::splat(0.0); IN]; 3];
                    for column in 0..IN {
                        let mut points = [S::splat(0.0); IN];
                        for (r, point) in points.iter_mut().enumerate() {
                            *point = S::load(from.at((r * IN + column) * BLOCK).0);
                        }
                        for (row, value) in rows.iter_mut().zip(taps::<S>(points)) {
                            row[column] = value;
                        }
                    }
                    for (r, row) in rows.into_iter().enumerate() {
                        for (c, value) in taps::<S>(row).into_iter().enumerate() {
                            let tap = (plane * 9 + r * 3 + c) * self.out_planes + out;
                            S::store(self.to.at(tap * BLOCK + at).0, value);
                        }
                    }
                }
            }
        }
    }
}

/// `G^T m`.
///
/// # Safety
///
/// As for [`Simd`].
#[inline(always)]
unsafe fn taps<S: Simd>(m: [S::V; IN]) -> [S::V; 3] {
    // SAFETY: the caller's contract.
    unsafe {
        let (near, near_odd) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (far, far_odd) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        let (near_scale, far_scale) = (S::splat(NEAR_SCALE), S::splat(FAR_SCALE));
        let sum = S::mul_add(near_scale, near, S::mul(far_scale, far));
        let odd = S::mul(S::splat(FAR * FAR_SCALE), far_odd);
        let square = S::mul_add(S::splat(FAR2 * FAR_SCALE), far, m[5]);
        [
            S::mul_add(S::splat(ZERO_SCALE), m[0], sum),
            S::mul_add(S::splat(NEAR * NEAR_SCALE), near_odd, odd),
            S::mul_add(S::splat(NEAR2 * NEAR_SCALE), near, square),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffer::Buffer;
    use super::super::grad_kernels::GrowWeights;
    use super::super::reduce::WeightSum;
    use super::super::reference::{Random, distance};
    use super::super::simd::{Level, MAX_PIXELS, dispatch};
    use super::*;

    #[test]
    fn the_sums_over_images_are_those_of_the_definition_at_any_size_and_level() {
        let mut random = Random(5);
        for ((height, width), (planes, out_planes)) in
            [(1, 1), (2, 3), (13, 14), (16, 15), (29, 6), (5, 33), (33, 33)]
                .into_iter()
                .flat_map(|side| [(1, 1), (3, 2)].map(|planes| (side, planes)))
        {
            let halo = Halo { height, width };
            let mut haloed = |count: usize| {
                let mut x = Buffer::new(count * halo.plane());
                x.copy_from_slice(&random.vector(count * halo.plane(), -1.0, 1.0));
                halo.clear(&mut x);
                // What is behind the end may be anything.
                for plane in x.chunks_exact_mut(halo.plane()) {
                    plane[halo.plane() - MAX_PIXELS * LANES..].fill(f32::NAN);
                }
                x
            };
            let images = [(haloed(planes), haloed(out_planes)), (haloed(planes), haloed(out_planes))];
            let size = planes * out_planes * 9 * BLOCK;
            let mut expected = vec![0.0; size];
            for (x, dy) in &images {
                for (index, sum) in expected.chunks_exact_mut(BLOCK).enumerate() {
                    let (out, tap, plane) =
                        (index % out_planes, index / out_planes % 9, index / out_planes / 9);
                    for px in 0..height * width {
                        let center = halo.lead() + (px / width * halo.row() + px % width) * LANES;
                        let a = (plane * halo.plane() + center).checked_add_signed(halo.taps()[tap]).unwrap();
                        let d = &dy[out * halo.plane() + center..][..LANES];
                        for (row, a) in sum.chunks_exact_mut(LANES).zip(&x[a..][..LANES]) {
                            row.iter_mut().zip(d).for_each(|(sum, d)| *sum += f64::from(*a) * f64::from(*d));
                        }
                    }
                }
            }
            for level in Level::available() {
                let (direct, ours) = (Buffer::new(size), Buffer::new(size));
                let points = Buffer::new(sums(planes, out_planes));
                let working = Buffer::new(scratch(out_planes));
                let what = format!("{height} x {width}, {planes} to {out_planes} planes, {level:?}");
                for (i, (x, dy)) in images.iter().enumerate() {
                    let sum = WeightSum { to: direct.ptr(), fresh: i == 0 };
                    let (a, dy) = (x.ptr(), dy.ptr());
                    // Plane by plane, as threads that share an image do.
                    for plane in 0..planes {
                        let planes = (plane, plane + 1);
                        let products = PointSums {
                            x: a,
                            dy,
                            halo,
                            planes,
                            out_planes,
                            scratch: working.ptr(),
                            to: points.ptr(),
                            fresh: i == 0,
                        };
                        // SAFETY: the buffers have these sizes.
                        unsafe {
                            dispatch(level, GrowWeights { a, dy, halo, planes, out_planes, sum });
                            dispatch(level, products);
                        }
                    }
                }
                let weights =
                    WeightsOfSums { from: points.ptr(), planes: (0, planes), out_planes, to: ours.ptr() };
                // SAFETY: the buffers have these sizes.
                unsafe { dispatch(level, weights) };
                let errors = [&direct, &ours].map(|found| distance(found, &expected));
                assert!(errors[0] < 1e-6 && errors[1] < 5e-6, "{what}: {errors:?}");
            }
        }
    }
}
