//! 3x3 convolutions with a quarter of the multiplications: Winograd's F(4x4, 3x3), as in Lavin & Gray (Fast algorithms for
//! convolutional neural networks, CVPR 2016), at points with smaller rounding errors, as Barabasz et al. look for (Error
//! analysis and improving the accuracy of Winograd convolution, ACM TOMS 2020).
//!
//! A tile of 4x4 outputs comes from 6x6 inputs. Both, and the 3x3 weights, are taken to 36 points where the convolution is
//! one product a point; over many tiles and channels these are 36 1x1 convolutions whose pixels are tiles.

use super::buffer::{Buffer, Ptr};
use super::lanes::Aligned;
use super::plane::Halo;
use super::simd::{Kernel, LANES, Level, MAX_PIXELS, Simd, dispatch};
use super::tile::{self, Ahead, Conv, Epilogue, NO_ROWS, any_tile};
use super::winograd_points::{IN, OUT, POINTS, input_points, outputs, weight_points};
use super::workers::Workers;

/// The most tiles that are transformed before they are multiplied, three register tiles of AVX2: their 36 points and the
/// weights' fit into a second-level cache of a megabyte.
const GROUP: usize = 18;

/// The most tiles of one group with the widest vectors, two halves of register tiles; more are cut into whole ones.
const HALVES: usize = 16;

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

/// The weights of a [`Winograd`].
#[derive(Clone, Copy)]
pub(super) enum Points<'a> {
    /// At the points, from [`transform`].
    Made(&'a Buffer),
    /// Packed. Of [`few`] tiles it takes longer to read four times as many than to make them where they are used, a pair of
    /// planes at a time.
    Packed(&'a Buffer),
}

/// Whether planes of this size gain by it.
pub(super) fn pays(halo: Halo) -> bool {
    // Fewer tiles do not fill the register tiles, and read four times the weights.
    Tiles::of(halo).count() >= 9
}

/// Whether the weights are made at the points where they are used: with the widest vectors for a group of tiles, for some
/// where arithmetic takes longer.
pub(super) fn few(level: Level, halo: Halo) -> bool {
    Tiles::of(halo).count() <= if level == Level::Avx512 { HALVES } else { 64 }
}

/// Whether a step of training on so many images gains by it.
fn trains(halo: Halo, images: usize) -> bool {
    // The weights are new in each step: of a few tiles their transform takes the gain away.
    pays(halo) && Tiles::of(halo).count() * images >= 48
}

/// The weights at the points for a step of training, if they are to be made before.
pub(super) fn made(
    level: Level,
    halo: Halo,
    images: usize,
    packed: &Buffer,
    workers: &Workers,
) -> Option<Buffer> {
    if !trains(halo, images) || few(level, halo) {
        return None;
    }
    let all = TransformWeights::of(packed);
    let made = Buffer::new(all.floats());
    workers.each(all.blocks, |block| {
        let kernel = TransformWeights { range: (block, block + 1), to: made.ptr(), ..all };
        // SAFETY: nine taps of a pair of planes are read, and its 36 points written, by this task alone.
        unsafe { dispatch(level, kernel) };
    });
    Some(made)
}

/// What a step of training uses of packed weights and those that were [`made`] of them.
pub(super) fn points<'a>(
    level: Level,
    halo: Halo,
    images: usize,
    made: Option<&'a Buffer>,
    packed: &'a Buffer,
) -> Option<Points<'a>> {
    let here = few(level, halo) && trains(halo, images);
    if here { Some(Points::Packed(packed)) } else { made.map(Points::Made) }
}

/// Floats of the working memory of one [`Winograd`].
pub(super) fn scratch(planes: usize, out_planes: usize) -> usize {
    group(planes) + group(out_planes) + POINTS * WEIGHTS
}

/// Floats between a pair of planes' weights at two points: a line more than they take, as the stride of a page would have
/// them share few sets of a cache.
const WEIGHTS: usize = BLOCK + LANES / 2;

/// Floats of a group's points.
fn group(planes: usize) -> usize {
    POINTS * stride(planes) + MAX_PIXELS * LANES
}

/// Floats between a group's points: a pixel more than it takes, as a tile's 36 points would share few sets of a cache.
fn stride(planes: usize) -> usize {
    (planes * GROUP + 1) * LANES
}

/// A convolution's weights at the 36 points, `[point][out plane][in plane][in][out]`, from the packed ones of either
/// direction.
pub(super) fn transform(level: Level, packed: &Buffer) -> Buffer {
    let all = TransformWeights::of(packed);
    let transformed = Buffer::new(all.floats());
    let kernel = TransformWeights { to: transformed.ptr(), ..all };
    // SAFETY: nine taps of every pair of planes are read, and its 36 points written.
    unsafe { dispatch(level, kernel) };
    transformed
}

/// Floats of the weights between two planes, a tap.
pub(super) const BLOCK: usize = LANES * LANES;

#[derive(Clone, Copy)]
struct TransformWeights {
    packed: Ptr,
    /// Pairs of planes, and those that are transformed.
    blocks: usize,
    range: (usize, usize),
    /// [`floats()`](Self::floats).
    to: Ptr,
}

impl TransformWeights {
    /// All pairs, to nowhere yet.
    fn of(packed: &Buffer) -> Self {
        let blocks = packed.len() / (9 * BLOCK);
        TransformWeights { packed: packed.ptr(), blocks, range: (0, blocks), to: Ptr(std::ptr::null_mut()) }
    }

    fn floats(self) -> usize {
        self.blocks * BLOCK * POINTS
    }
}

impl Kernel for TransformWeights {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for block in self.range.0..self.range.1 {
            // SAFETY: the caller's contract.
            unsafe {
                let (from, to) = (self.packed.0.add(block * 9 * BLOCK), self.to.0.add(block * BLOCK));
                transform_block::<S>(from, to, self.blocks * BLOCK);
            }
        }
    }
}

/// The weights of a pair of planes at the points, `stride` floats apart.
///
/// # Safety
///
/// As for [`Simd`]; nine taps must be readable and the points writable.
#[inline(always)]
unsafe fn transform_block<S: Simd>(from: *const f32, to: *mut f32, stride: usize) {
    for at in (0..BLOCK).step_by(S::WIDTH) {
        // SAFETY: the caller's contract.
        unsafe {
            let mut rows = [[S::splat(0.0); 3]; IN];
            for column in 0..3 {
                let mut taps = [S::splat(0.0); 3];
                for (row, tap) in taps.iter_mut().enumerate() {
                    *tap = S::load(from.add((row * 3 + column) * BLOCK + at));
                }
                for (row, point) in rows.iter_mut().zip(weight_points::<S>(taps)) {
                    row[column] = point;
                }
            }
            for (r, row) in rows.into_iter().enumerate() {
                for (c, point) in weight_points::<S>(row).into_iter().enumerate() {
                    S::store(to.add((r * IN + c) * stride + at), point);
                }
            }
        }
    }
}

/// 3x3 convolution of haloed planes to dense ones, tile by tile.
pub(super) struct Winograd<'a, E> {
    pub x: Ptr,
    pub halo: Halo,
    pub planes: usize,
    pub weights: Points<'a>,
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
        let group = group_size::<S>(self.range.1 - self.range.0);
        for first in (self.range.0..self.range.1).step_by(group) {
            let count = group.min(self.range.1 - first);
            // SAFETY: the caller's contract; the scratch holds a group's points, a register tile behind its inputs, and the
            // points of a pair of planes' weights.
            unsafe {
                self.transform_inputs::<S>(first, count);
                match self.weights {
                    Points::Made(weights) => self.multiply::<S>(weights, count),
                    Points::Packed(packed) => self.multiply_making::<S>(packed, count),
                }
                self.transform_outputs::<S>(first, count);
            }
        }
    }
}

impl<E: Epilogue> Winograd<'_, E> {
    /// The products' points, behind the inputs'.
    fn products(&self) -> Ptr {
        self.scratch.at(group(self.planes))
    }

    /// The products of input plane `plane` for output plane `out` at a point, written if it is the first plane, else added:
    /// one plane's channels at a time, as the transforms make what a long sum rounds away larger. Asks for `share` floats
    /// from `next` on for each of the channels and tiles.
    ///
    /// # Safety
    ///
    /// As for [`Kernel::run`]; the weights must be those of this pair of planes at the point.
    #[inline(always)]
    unsafe fn products_of<S: Simd>(
        &self,
        (point, out, plane): (usize, usize, usize),
        weights: *const f32,
        count: usize,
        (next, share): (*const f32, usize),
    ) {
        let x = self.scratch.at(point * stride(self.planes) + plane * GROUP * LANES);
        let y = self.products().at(point * stride(self.out_planes) + out * GROUP * LANES);
        let conv = Conv {
            x: x.0,
            planes: 1,
            plane: 0,
            taps: &[0],
            row: NO_ROWS,
            depth: LANES,
            weights,
            outs: (0, 1),
            group: 1,
        };
        let share = share.div_ceil(count.div_ceil(S::PIXELS));
        let mut first = 0;
        while first < count {
            let tiles = tile::count::<S>(count - first);
            // SAFETY: the caller's contract: inputs' and products' points lie in the scratch, which has room for a group.
            unsafe {
                let (x, y) = (x.at(first * LANES), y.at(first * LANES));
                let next = next.wrapping_add(first / S::PIXELS * share * LANES);
                let ahead = Ahead { tiles: [y.0, x.at(stride(self.planes)).0], next, share };
                any_tile::<S, LANES>(&conv, 0..1, x.0, weights, tiles, ahead, y.0, plane == 0);
            }
            first += tiles;
        }
    }

    /// # Safety
    ///
    /// As for [`Kernel::run`].
    #[inline(always)]
    unsafe fn transform_inputs<S: Simd>(&self, first: usize, count: usize) {
        let tiles = Tiles::of(self.halo);
        for plane in 0..self.planes {
            for tile in 0..count {
                let to = self.scratch.at((plane * GROUP + tile) * LANES);
                // SAFETY: the caller's contract: the planes are readable, and the scratch holds a group's points.
                unsafe { tiles.input_points::<S>(first + tile, (self.x, plane), to.0, stride(self.planes)) };
            }
        }
    }

    /// # Safety
    ///
    /// As for [`Kernel::run`].
    #[inline(always)]
    unsafe fn multiply<S: Simd>(&self, weights: &Buffer, count: usize) {
        for point in 0..POINTS {
            for out in self.outs.0..self.outs.1 {
                for plane in 0..self.planes {
                    let block = (point * self.out_planes + out) * self.planes + plane;
                    let weights = weights.ptr().at(block * BLOCK);
                    let next = (weights.at(BLOCK).0.cast_const(), LANES);
                    // SAFETY: the caller's contract: the weights have all 36 points.
                    unsafe { self.products_of::<S>((point, out, plane), weights.0, count, next) };
                }
            }
        }
    }

    /// The same products, from packed weights.
    ///
    /// # Safety
    ///
    /// As for [`Kernel::run`].
    #[inline(always)]
    unsafe fn multiply_making<S: Simd>(&self, packed: &Buffer, count: usize) {
        /// Floats a channel of the next packed weights that are asked for at each point.
        const SHARE: usize = 9 * LANES / POINTS;
        let weights = self.products().at(group(self.out_planes));
        for out in self.outs.0..self.outs.1 {
            for plane in 0..self.planes {
                let block = packed.ptr().at((out * self.planes + plane) * 9 * BLOCK);
                // SAFETY: the caller's contract: nine taps of each pair are packed; the scratch has room for their points.
                unsafe { transform_block::<S>(block.0, weights.0, WEIGHTS) };
                for point in 0..POINTS {
                    let next = block.at(9 * BLOCK + point * SHARE * LANES).0.cast_const();
                    let weights = weights.at(point * WEIGHTS).0;
                    // SAFETY: the weights' points were just written to the scratch.
                    unsafe { self.products_of::<S>((point, out, plane), weights, count, (next, SHARE)) };
                }
            }
        }
    }

    /// # Safety
    ///
    /// As for [`Kernel::run`].
    #[inline(always)]
    unsafe fn transform_outputs<S: Simd>(&mut self, first: usize, count: usize) {
        let tiles = Tiles::of(self.halo);
        for plane in self.outs.0..self.outs.1 {
            for tile in 0..count {
                let from = self.products().at((plane * GROUP + tile) * LANES);
                // SAFETY: the caller's contract: the products of the group's tiles lie in the scratch.
                unsafe { self.transform_output::<S>(tiles.corner(first + tile), plane, from.0) };
            }
        }
    }
}

/// Tiles of a group: with the widest vectors a whole register tile, but for the last.
fn group_size<S: Simd>(count: usize) -> usize {
    if count > HALVES && S::PIXELS == MAX_PIXELS { MAX_PIXELS } else { GROUP }
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
        let mut tile = Aligned([0.0; OUT * OUT * LANES]);
        let tile = tile.0.as_mut_ptr();
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
                        S::store(tile.add((r * OUT + c) * LANES + v), value);
                    }
                }
            }
            let width = OUT.min(self.halo.width - column);
            for r in 0..OUT.min(self.halo.height - row) {
                let px = (row + r) * self.halo.width + column;
                self.then.tile::<S>(plane, px, width, tile.add(r * OUT * LANES));
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
