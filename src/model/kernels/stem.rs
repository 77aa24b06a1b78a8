//! The stem: 7x7 convolution of stride 2, norm, ReLU and 3x3 max-pool of stride 2, forwards and backwards.

use super::arch::{Plan, stem_size};
use super::buffer::{Buffer, Ptr};
use super::lanes::Aligned;
use super::plane::Store;
use super::reduce::WeightSum;
use super::simd::{Kernel, LANES, MAX_PIXELS, Simd};
use super::tile::{Conv, Epilogue, NO_ROWS, POINTWISE, convolve, outer8};

/// The winner's number where ReLU stops the gradient.
const NO_WINNER: u8 = 9;

/// Sizes of the stem's stages.
#[derive(Clone, Copy, Debug)]
pub(super) struct StemSize {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub conv_height: usize,
    pub conv_width: usize,
    pub height_out: usize,
    pub width_out: usize,
}

impl StemSize {
    pub(super) fn new(channels: usize, height: usize, width: usize) -> Self {
        let ((conv_height, height_out), (conv_width, width_out)) = (stem_size(height), stem_size(width));
        StemSize { channels, height, width, conv_height, conv_width, height_out, width_out }
    }
    pub(super) fn image(self) -> usize {
        self.channels * self.height * self.width
    }
    /// Height and width of every dense block.
    pub(super) fn blocks(self, plan: &Plan) -> Vec<(usize, usize)> {
        (0..plan.blocks.len()).map(|i| (self.height_out >> i, self.width_out >> i)).collect()
    }
    pub(super) fn conv_pixels(self) -> usize {
        self.conv_height * self.conv_width
    }
    pub(super) fn pixels_out(self) -> usize {
        self.height_out * self.width_out
    }
    fn padded_width(self) -> usize {
        self.width + 7
    }
    pub(super) fn padded_height(self) -> usize {
        self.height + 7
    }
    fn padded_plane(self) -> usize {
        self.padded_height() * self.padded_width()
    }
    /// Floats of a padded image, with what a tile may read behind its end.
    pub(super) fn padded(self) -> usize {
        self.channels * self.padded_plane() + 2 * MAX_PIXELS + 8
    }
    /// Writes an image with its border of zeros.
    pub(super) fn pad(self, image: &[f32], padded: &mut [f32]) {
        padded.fill(0.0);
        for (from, to) in
            image.chunks_exact(self.height * self.width).zip(padded.chunks_exact_mut(self.padded_plane()))
        {
            for (from, to) in
                from.chunks_exact(self.width).zip(to.chunks_exact_mut(self.padded_width()).skip(3))
            {
                to[3..][..self.width].copy_from_slice(from);
            }
        }
    }
    /// The image without its border.
    pub(super) fn crop(self, padded: &[f32], image: &mut [f32]) {
        for (from, to) in
            padded.chunks_exact(self.padded_plane()).zip(image.chunks_exact_mut(self.height * self.width))
        {
            for (from, to) in
                from.chunks_exact(self.padded_width()).skip(3).zip(to.chunks_exact_mut(self.width))
            {
                to.copy_from_slice(&from[3..][..self.width]);
            }
        }
    }
    /// Offset of each (channel, kernel row) in a padded image.
    fn taps(self) -> Vec<isize> {
        let rows = (0..self.channels).flat_map(|c| (0..7).map(move |r| (c, r)));
        rows.map(|(c, r)| (c * self.padded_plane() + r * self.padded_width()) as isize).collect()
    }
}

/// The convolution's rows `rows.0..rows.1`, of `[plane][conv_plane floats]`; row `rows.0` comes first.
pub(super) struct StemConv<'a> {
    pub size: StemSize,
    pub planes: usize,
    pub weights: &'a Buffer,
    pub padded: Ptr,
    pub rows: (usize, usize),
    pub y: Ptr,
    pub plane: usize,
}

impl Kernel for StemConv<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let taps = self.size.taps();
        for row in self.rows.0..self.rows.1 {
            let conv = Conv {
                x: self.padded.at(2 * row * self.size.padded_width()).0,
                planes: 1,
                plane: 0,
                taps: &taps,
                row: NO_ROWS,
                depth: 7,
                weights: self.weights.ptr().0,
                outs: (0, self.planes),
                group: taps.len(),
            };
            let y = self.y.at((row - self.rows.0) * self.size.conv_width * LANES);
            // SAFETY: rows `2 * row ..+ 7` lie in the padded image, which has room for a tile behind its end.
            unsafe {
                convolve::<S, _, 2>(&conv, 0, self.size.conv_width, &mut Store { y, plane: self.plane })
            }
        }
    }
}

/// Norm, ReLU and max-pool of pooled rows `rows.0..rows.1`; `conv` begins with row `first` of the convolution.
pub(super) struct StemPool<'a> {
    pub size: StemSize,
    pub planes: usize,
    pub conv: Ptr,
    pub conv_plane: usize,
    pub first: usize,
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub rows: (usize, usize),
    /// `[plane][pixel][32]`
    pub y: Ptr,
    /// Number of the winning tap as a byte, `[plane][pixel][32]`, if wanted.
    pub winners: Option<Ptr>,
}

impl Kernel for StemPool<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let size = self.size;
        for plane in 0..self.planes {
            let scale: &[f32; LANES] =
                self.scale[plane * LANES..].first_chunk().expect("a coefficient a lane");
            let shift: &[f32; LANES] =
                self.shift[plane * LANES..].first_chunk().expect("a coefficient a lane");
            for r in self.rows.0..self.rows.1 {
                for c in 0..size.width_out {
                    let (mut best, mut winner) =
                        (Aligned([f32::NEG_INFINITY; LANES]), Aligned([0u32; LANES]));
                    let (best, winner) = (&mut best.0, &mut winner.0);
                    for t in 0..9 {
                        let (y, x) = (2 * r + t / 3, 2 * c + t % 3);
                        if y == 0 || x == 0 || y > size.conv_height || x > size.conv_width {
                            continue;
                        }
                        let at = plane * self.conv_plane
                            + ((y - 1 - self.first) * size.conv_width + x - 1) * LANES;
                        // SAFETY: the pixel lies in the rows that the caller computed.
                        let from = unsafe { &*self.conv.0.add(at).cast::<[f32; LANES]>() };
                        for lane in 0..LANES {
                            let v = from[lane] * scale[lane] + shift[lane];
                            let v = if v <= 0.0 { 0.0 } else { v };
                            // The first maximum wins, and NaN beats all, as in PyTorch.
                            let wins = v > best[lane] || v.is_nan();
                            best[lane] = if wins { v } else { best[lane] };
                            winner[lane] = if wins { t as u32 } else { winner[lane] };
                        }
                    }
                    let at = (plane * size.pixels_out() + r * size.width_out + c) * LANES;
                    // SAFETY: the caller's buffers hold all pooled pixels.
                    unsafe {
                        *self.y.0.add(at).cast::<[f32; LANES]>() = *best;
                        if let Some(winners) = self.winners {
                            let stopped = |lane: usize| best[lane] <= 0.0;
                            *winners.0.cast::<u8>().add(at).cast::<[u8; LANES]>() =
                                std::array::from_fn(|l| if stopped(l) { NO_WINNER } else { winner[l] as u8 });
                        }
                    }
                }
            }
        }
    }
}

/// Gradient of the convolution's rows `rows.0..rows.1` from that of the pooled pixels, both `[plane][pixel][32]`: a pixel
/// collects it from the windows that it won.
pub(super) struct Unpool {
    pub size: StemSize,
    pub planes: usize,
    pub d: Ptr,
    /// As [`StemPool::winners`].
    pub winners: Ptr,
    pub rows: (usize, usize),
    pub conv: Ptr,
}

impl Kernel for Unpool {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let size = self.size;
        // The one or two windows over a row or column, each with the kernel's row or column there.
        let over =
            |at: usize, len: usize| (at / 2..=at.div_ceil(2).min(len - 1)).map(move |r| (r, at + 1 - 2 * r));
        for plane in 0..self.planes {
            for (y, x) in (self.rows.0..self.rows.1).flat_map(|y| (0..size.conv_width).map(move |x| (y, x))) {
                let mut sum = Aligned([0.0; LANES]);
                let sum = &mut sum.0;
                for (r, kernel_row) in over(y, size.height_out) {
                    for (c, kernel_column) in over(x, size.width_out) {
                        let at = (plane * size.pixels_out() + r * size.width_out + c) * LANES;
                        // SAFETY: the caller's buffers hold all pooled pixels.
                        let (d, winners) = unsafe {
                            (
                                &*self.d.0.add(at).cast::<[f32; LANES]>(),
                                &*self.winners.0.cast::<u8>().add(at).cast::<[u8; LANES]>(),
                            )
                        };
                        let tap = (kernel_row * 3 + kernel_column) as u8;
                        for lane in 0..LANES {
                            sum[lane] += if winners[lane] == tap { d[lane] } else { 0.0 };
                        }
                    }
                }
                let at = (plane * size.conv_pixels() + y * size.conv_width + x) * LANES;
                // SAFETY: the caller's buffer holds all of the convolution's pixels.
                unsafe { *self.conv.0.add(at).cast::<[f32; LANES]>() = *sum };
            }
        }
    }
}

/// Gradient of the padded image from that of the convolution, `[plane][pixel][32]`: columns by the register tile, then
/// added to the image.
pub(super) struct StemBack<'a> {
    pub plan: &'a Plan,
    pub size: StemSize,
    pub weights: &'a Buffer,
    pub d: Ptr,
    /// Zeroed by the caller.
    pub padded: Ptr,
    /// Rows of the padded image that are computed: the others' gradient is left alone.
    pub rows: (usize, usize),
}

struct AddColumns<'a> {
    taps: &'a [isize],
    /// The padded image, from the row's first pixel.
    image: Ptr,
    /// Kernel rows that are wanted.
    rows: std::ops::Range<usize>,
}

impl Epilogue for AddColumns<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd>(&mut self, plane: usize, px: usize, count: usize, tile: *const f32) {
        for (group, &tap) in self.taps.iter().enumerate().skip(plane * 4).take(4) {
            if !self.rows.contains(&(group % 7)) {
                continue;
            }
            for p in 0..count {
                // SAFETY: eight floats lie in the padded image's row; the last adds zero.
                unsafe {
                    let from = &*tile.add(p * LANES + group % 4 * 8).cast::<[f32; 8]>();
                    let to = &mut *self.image.0.offset(tap).add(2 * (px + p)).cast::<[f32; 8]>();
                    for i in 0..8 {
                        to[i] += from[i];
                    }
                }
            }
        }
    }
}

impl Kernel for StemBack<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let size = self.size;
        let taps = size.taps();
        let conv = Conv {
            x: self.d.0,
            planes: self.plan.stem_planes,
            plane: size.conv_pixels() * LANES,
            taps: &[0],
            row: NO_ROWS,
            depth: LANES,
            weights: self.weights.ptr().0,
            outs: (0, (taps.len() * 8).div_ceil(LANES)),
            group: POINTWISE,
        };
        for row in 0..size.conv_height {
            // Whoever computes an image's row adds the same terms in the same order.
            let rows = self.rows.0.saturating_sub(2 * row)..self.rows.1.saturating_sub(2 * row).min(7);
            if rows.is_empty() {
                continue;
            }
            let x = self.d.at(row * size.conv_width * LANES).0;
            let image = self.padded.at(2 * row * size.padded_width());
            let mut add = AddColumns { taps: &taps, image, rows };
            // SAFETY: the gradient's buffer has room for a tile behind its end, the padded image for eight floats.
            unsafe { convolve::<S, _, LANES>(&Conv { x, ..conv }, 0, size.conv_width, &mut add) }
        }
    }
}

/// Adds one image's part of the weight gradient to `sum`, `[plane][in, row][8][32]`.
pub(super) struct StemWeights {
    pub size: StemSize,
    pub planes: (usize, usize),
    pub padded: Ptr,
    pub d: Ptr,
    pub sum: WeightSum,
}

impl Kernel for StemWeights {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let size = self.size;
        let taps = size.taps();
        for row in 0..size.conv_height {
            for plane in self.planes.0..self.planes.1 {
                for (i, &tap) in taps.iter().enumerate() {
                    // SAFETY: the taps of a row lie in the padded image; `sum` has 8 x 32 floats for each plane and tap.
                    unsafe {
                        let a = self.padded.0.offset(tap).add(2 * row * size.padded_width());
                        let d = self.d.0.add((plane * size.conv_pixels() + row * size.conv_width) * LANES);
                        let sum = self.sum.to.0.add((plane * taps.len() + i) * 8 * LANES);
                        outer8::<S, 2>(a, d, size.conv_width, sum, self.sum.fresh && row == 0);
                    }
                }
            }
        }
    }
}
