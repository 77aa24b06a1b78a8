//! 3x3 convolutions with a quarter of the multiplications: Winograd's F(4x4, 3x3), as in Lavin & Gray (Fast algorithms for
//! convolutional neural networks, CVPR 2016), at points with smaller rounding errors, as Barabasz et al. look for (Error
//! analysis and improving the accuracy of Winograd convolution, ACM TOMS 2020).
//!
//! A tile of 4x4 outputs comes from 6x6 inputs. Both, and the 3x3 weights, are taken to 36 points where the convolution is
//! one product a point; over many tiles and channels these are 36 1x1 convolutions whose pixels are tiles.

use super::buffer::{Buffer, Ptr};
use super::plane::{Halo, Store};
use super::simd::{Kernel, LANES, Level, MAX_PIXELS, Simd, dispatch};
use super::tile::{Conv, Epilogue, NO_ROWS, convolve};

/// Height and width of a tile's outputs.
pub(super) const OUT: usize = 4;
/// Height and width of a tile's inputs.
pub(super) const IN: usize = 6;
/// Products of a tile, a channel.
pub(super) const POINTS: usize = IN * IN;
/// The most tiles that are transformed before they are multiplied: their 36 points and the weights' fit into a
/// second-level cache of a megabyte.
const GROUP: usize = 16;

/// Tiles of a plane, row by row.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    halo: Halo,
    columns: usize,
}

impl Tiles {
    pub(super) fn of(halo: Halo) -> Self {
        Tiles { halo, columns: halo.width.div_ceil(OUT) }
    }

    pub(super) fn count(self) -> usize {
        self.halo.height.div_ceil(OUT) * self.columns
    }

    /// First row and column of a tile's outputs.
    pub(super) fn corner(self, tile: usize) -> (usize, usize) {
        (tile / self.columns * OUT, tile % self.columns * OUT)
    }

    /// The 36 points of a tile's inputs, `stride` floats apart, from a haloed plane.
    ///
    /// # Safety
    ///
    /// As for [`Simd`]; the plane must be readable and the points writable.
    #[inline(always)]
    pub(super) unsafe fn input_points<S: Simd>(
        self,
        tile: usize,
        (x, plane): (Ptr, usize),
        to: *mut f32,
        stride: usize,
    ) {
        let (halo, (row, column)) = (self.halo, self.corner(tile));
        let corner = plane * halo.plane() + halo.lead() + (row * halo.row() + column) * LANES;
        // The halo is one pixel wide: what lies beyond belongs to other rows.
        let (rows, columns) = (halo.height + 2 - row, halo.width + 2 - column);
        // SAFETY: the caller's contract; the corner's upper left neighbour is in the halo.
        unsafe {
            let x = x.0.add(corner).sub((halo.row() + 1) * LANES);
            // Whole tiles apart, so that their loops have constant ends.
            if rows >= IN && columns >= IN {
                transform_tile::<S>(x, halo.row() * LANES, (IN, IN), to, stride);
            } else {
                transform_tile::<S>(x, halo.row() * LANES, (rows.min(IN), columns.min(IN)), to, stride);
            }
        }
    }
}

/// Whether planes of this size gain by it.
pub(super) fn pays(halo: Halo) -> bool {
    // Fewer tiles do not fill the register tiles, and read four times the weights.
    Tiles::of(halo).count() >= 9
}

/// The weights at the points if it pays to make them for a batch of so many images.
pub(super) fn wanted(level: Level, halo: Halo, images: usize, packed: &Buffer) -> Option<Buffer> {
    // Of a few tiles each step's transform of the weights takes the gain away.
    (pays(halo) && Tiles::of(halo).count() * images >= 48).then(|| transform(level, packed))
}

/// Floats of the working memory of one [`Winograd`].
pub(super) fn scratch(planes: usize, out_planes: usize) -> usize {
    points(planes) + points(out_planes)
}

/// Floats of a group's points.
fn points(planes: usize) -> usize {
    POINTS * stride(planes) + MAX_PIXELS * LANES
}

/// Floats between a group's points: a pixel more than it takes, as a tile's 36 points would share few sets of a cache.
fn stride(planes: usize) -> usize {
    (planes * GROUP + 1) * LANES
}

/// A convolution's weights at the 36 points, `[point][out plane][in plane][in][out]`, from the packed ones of either
/// direction.
pub(super) fn transform(level: Level, packed: &Buffer) -> Buffer {
    let transformed = Buffer::new(packed.len() / 9 * POINTS);
    let kernel =
        TransformWeights { packed: packed.ptr(), blocks: packed.len() / (9 * BLOCK), to: transformed.ptr() };
    // SAFETY: nine taps of every pair of planes are read, and its 36 points written.
    unsafe { dispatch(level, kernel) };
    transformed
}

/// Floats of the weights between two planes, a tap.
pub(super) const BLOCK: usize = LANES * LANES;

struct TransformWeights {
    packed: Ptr,
    /// Pairs of planes.
    blocks: usize,
    to: Ptr,
}

impl Kernel for TransformWeights {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for block in 0..self.blocks {
            for at in (0..BLOCK).step_by(S::WIDTH) {
                // SAFETY: the caller's contract.
                unsafe {
                    let mut rows = [[S::splat(0.0); 3]; IN];
                    for column in 0..3 {
                        let mut taps = [S::splat(0.0); 3];
                        for (row, tap) in taps.iter_mut().enumerate() {
                            *tap = S::load(self.packed.0.add((block * 9 + row * 3 + column) * BLOCK + at));
                        }
                        for (row, point) in rows.iter_mut().zip(weight_points::<S>(taps)) {
                            row[column] = point;
                        }
                    }
                    for (r, row) in rows.into_iter().enumerate() {
                        for (c, point) in weight_points::<S>(row).into_iter().enumerate() {
                            S::store(self.to.0.add(((r * IN + c) * self.blocks + block) * BLOCK + at), point);
                        }
                    }
                }
            }
        }
    }
}

// The points are 0, infinity and four more, which keep the transforms' numbers near one: with 1 and 2, as in the paper, the
// rounding errors are more than twice as large. All of their powers here are exact.

/// The points nearer to zero are this and its negative.
pub(super) const NEAR: f32 = 5.0 / 8.0;
/// The points farther from zero are this and its negative.
pub(super) const FAR: f32 = 3.0 / 2.0;
pub(super) const NEAR2: f32 = NEAR * NEAR;
pub(super) const FAR2: f32 = FAR * FAR;
/// One over the product of a point's distances from the others.
pub(super) const ZERO_SCALE: f32 = 1.0 / (NEAR2 * FAR2);
pub(super) const NEAR_SCALE: f32 = 1.0 / (2.0 * NEAR2 * (NEAR2 - FAR2));
pub(super) const FAR_SCALE: f32 = 1.0 / (2.0 * FAR2 * (FAR2 - NEAR2));

/// `G g`: the polynomial of the weights at the points, over the products of their distances from each other.
///
/// # Safety
///
/// As for [`Simd`].
#[inline(always)]
unsafe fn weight_points<S: Simd>([a, b, c]: [S::V; 3]) -> [S::V; IN] {
    // SAFETY: the caller's contract.
    unsafe {
        let near = S::mul(S::mul_add(c, S::splat(NEAR2), a), S::splat(NEAR_SCALE));
        let far = S::mul(S::mul_add(c, S::splat(FAR2), a), S::splat(FAR_SCALE));
        let (near_odd, far_odd) =
            (S::mul(b, S::splat(NEAR * NEAR_SCALE)), S::mul(b, S::splat(FAR * FAR_SCALE)));
        [
            S::mul(a, S::splat(ZERO_SCALE)),
            S::add(near, near_odd),
            S::sub(near, near_odd),
            S::add(far, far_odd),
            S::sub(far, far_odd),
            c,
        ]
    }
}

/// `B^T d`.
///
/// # Safety
///
/// As for [`Simd`].
#[inline(always)]
unsafe fn input_points<S: Simd>(d: [S::V; IN]) -> [S::V; IN] {
    // SAFETY: the caller's contract.
    unsafe {
        let (product, sum) = (S::splat(NEAR2 * FAR2), S::splat(-NEAR2 - FAR2));
        let (near2, far2) = (S::splat(-NEAR2), S::splat(-FAR2));
        let near = S::mul_add(far2, d[2], d[4]);
        let near_odd = S::mul(S::splat(NEAR), S::mul_add(far2, d[1], d[3]));
        let far = S::mul_add(near2, d[2], d[4]);
        let far_odd = S::mul(S::splat(FAR), S::mul_add(near2, d[1], d[3]));
        [
            S::mul_add(product, d[0], S::mul_add(sum, d[2], d[4])),
            S::add(near, near_odd),
            S::sub(near, near_odd),
            S::add(far, far_odd),
            S::sub(far, far_odd),
            S::mul_add(product, d[1], S::mul_add(sum, d[3], d[5])),
        ]
    }
}

/// `A^T m`: a polynomial's coefficients from the products at the points.
///
/// # Safety
///
/// As for [`Simd`].
#[inline(always)]
unsafe fn outputs<S: Simd>(m: [S::V; IN]) -> [S::V; OUT] {
    // SAFETY: the caller's contract.
    unsafe {
        let (near, near_odd) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (far, far_odd) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(m[0], S::add(near, far)),
            S::mul_add(S::splat(NEAR), near_odd, S::mul(S::splat(FAR), far_odd)),
            S::mul_add(S::splat(NEAR2), near, S::mul(S::splat(FAR2), far)),
            S::mul_add(S::splat(NEAR * NEAR2), near_odd, S::mul_add(S::splat(FAR * FAR2), far_odd, m[5])),
        ]
    }
}

/// 3x3 convolution of haloed planes to dense ones, tile by tile.
pub(super) struct Winograd<'a, E> {
    pub x: Ptr,
    pub halo: Halo,
    pub planes: usize,
    /// From [`transform`].
    pub weights: &'a Buffer,
    pub out_planes: usize,
    /// Output planes that are computed.
    pub outs: (usize, usize),
    /// Of the [`Tiles`].
    pub range: (usize, usize),
    /// [`scratch()`] floats.
    pub scratch: Ptr,
    pub then: E,
}

impl<E: Epilogue> Kernel for Winograd<'_, E> {
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let (tiles, weights) = (Tiles::of(self.halo), self.planes * self.out_planes * BLOCK);
        let (v, m) = (self.scratch, self.scratch.at(points(self.planes)));
        for first in (self.range.0..self.range.1).step_by(GROUP) {
            let count = GROUP.min(self.range.1 - first);
            // Register tiles of about the same size: of 14 and of 2 tiles the second would be mostly empty.
            let step = count.div_ceil(count.div_ceil(S::PIXELS));
            // SAFETY: the caller's contract; the scratch holds a group's points, and a register tile behind its inputs.
            unsafe {
                for plane in 0..self.planes {
                    for tile in 0..count {
                        let to = v.0.add((plane * GROUP + tile) * LANES);
                        tiles.input_points::<S>(first + tile, (self.x, plane), to, stride(self.planes));
                    }
                }
                for point in 0..POINTS {
                    let conv = Conv {
                        x: v.0.add(point * stride(self.planes)),
                        planes: self.planes,
                        plane: GROUP * LANES,
                        taps: &[0],
                        row: NO_ROWS,
                        depth: LANES,
                        weights: self.weights.ptr().0.add(point * weights),
                        outs: self.outs,
                        // One plane's channels: the transforms make what a long sum rounds away larger.
                        group: 1,
                    };
                    let y = m.at(point * stride(self.out_planes));
                    let mut store = Store { y, plane: GROUP * LANES };
                    for from in (0..count).step_by(step) {
                        convolve::<S, _, LANES>(&conv, from, (from + step).min(count), &mut store);
                    }
                }
                for plane in self.outs.0..self.outs.1 {
                    for tile in 0..count {
                        let from = m.0.add((plane * GROUP + tile) * LANES);
                        self.transform_output::<S>(tiles.corner(first + tile), plane, from);
                    }
                }
            }
        }
    }
}

impl<E: Epilogue> Winograd<'_, E> {
    /// Hands on the outputs of a tile, row by row, from its 36 points.
    ///
    /// # Safety
    ///
    /// As for [`Simd`]; the points must lie in the scratch.
    #[inline(always)]
    unsafe fn transform_output<S: Simd>(
        &mut self,
        (row, column): (usize, usize),
        plane: usize,
        from: *const f32,
    ) {
        let stride = stride(self.out_planes);
        let mut tile = [0.0; OUT * OUT * LANES];
        // SAFETY: the caller's contract, and the tile holds 4x4 pixels.
        unsafe {
            for v in (0..LANES).step_by(S::WIDTH) {
                let mut rows = [[S::splat(0.0); IN]; OUT];
                for column in 0..IN {
                    let mut points = [S::splat(0.0); IN];
                    for (r, point) in points.iter_mut().enumerate() {
                        *point = S::load(from.add((r * IN + column) * stride + v));
                    }
                    for (row, value) in rows.iter_mut().zip(outputs::<S>(points)) {
                        row[column] = value;
                    }
                }
                for (r, row) in rows.into_iter().enumerate() {
                    for (c, value) in outputs::<S>(row).into_iter().enumerate() {
                        S::store(tile.as_mut_ptr().add((r * OUT + c) * LANES + v), value);
                    }
                }
            }
            let width = OUT.min(self.halo.width - column);
            for r in 0..OUT.min(self.halo.height - row) {
                let px = (row + r) * self.halo.width + column;
                self.then.tile::<S>(plane, px, width, tile.as_ptr().add(r * OUT * LANES));
            }
        }
    }
}

/// `B^T d B` of 6x6 inputs at `x`, whose rows are `row` floats apart and of which so many rows and columns count; the
/// others are zero.
///
/// # Safety
///
/// As for [`Simd`]; the inputs that count must be readable, and 36 points `stride` floats apart writable.
#[inline(always)]
unsafe fn transform_tile<S: Simd>(
    x: *const f32,
    row: usize,
    (rows, columns): (usize, usize),
    to: *mut f32,
    stride: usize,
) {
    for v in (0..LANES).step_by(S::WIDTH) {
        // SAFETY: the caller's contract.
        unsafe {
            let mut lines = [[S::splat(0.0); IN]; IN];
            for column in 0..columns {
                let mut inputs = [S::splat(0.0); IN];
                for (r, input) in inputs.iter_mut().enumerate().take(rows) {
                    *input = S::load(x.add(r * row + column * LANES + v));
                }
                for (line, point) in lines.iter_mut().zip(input_points::<S>(inputs)) {
                    line[column] = point;
                }
            }
            for (r, line) in lines.into_iter().enumerate() {
                for (c, point) in input_points::<S>(line).into_iter().enumerate() {
                    S::store(to.add((r * IN + c) * stride + v), point);
                }
            }
        }
    }
}
