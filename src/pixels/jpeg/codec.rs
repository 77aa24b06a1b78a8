//! Compression and decompression of one image, without the lossless coding in between: libjpeg's arithmetic.

use rayon::prelude::*;

use super::dct::{forward, inverse};
use super::tables::{SIDE, Tables};

/// A plane of 8-bit levels.
struct Plane {
    levels: Vec<i32>,
    width: usize,
}

impl Plane {
    fn height(&self) -> usize {
        self.levels.len() / self.width
    }

    /// One from its place by row and column.
    fn build(height: usize, width: usize, level: impl Fn(usize, usize) -> i32 + Sync) -> Self {
        let mut levels = vec![0; height * width];
        levels.par_chunks_mut(width).enumerate().for_each(|(y, row)| {
            row.iter_mut().enumerate().for_each(|(x, value)| *value = level(y, x));
        });
        Self { levels, width }
    }

    /// The level there, or the nearest one where the plane ends.
    fn nearest(&self, y: usize, x: usize) -> i32 {
        self.levels[y.min(self.height() - 1) * self.width + x.min(self.width - 1)]
    }

    /// Quantised and back, block by block; the last row and column are repeated until blocks are full.
    fn quantised(&self, table: &[i32; 64]) -> Self {
        let (width, height) = (self.width, self.height());
        let mut levels = vec![0; self.levels.len()];
        levels.par_chunks_mut(width * SIDE).enumerate().for_each(|(strip, rows)| {
            for left in (0..width).step_by(SIDE) {
                let top = strip * SIDE;
                let mut block = std::array::from_fn(|i| self.nearest(top + i / SIDE, left + i % SIDE) - 128);
                quantise(&mut block, table);
                for y in 0..SIDE.min(height - top) {
                    for x in 0..SIDE.min(width - left) {
                        rows[y * width + left + x] = (block[y * SIDE + x] + 128).clamp(0, 255);
                    }
                }
            }
        });
        Self { levels, width }
    }

    /// Means of two by two levels, wide enough for full blocks; halves go down and up in turn
    /// (`h2v2_downsample`).
    fn halved(&self) -> Self {
        let (height, width) = (self.height().div_ceil(2), self.width.div_ceil(2).next_multiple_of(SIDE));
        Self::build(height, width, |y, x| {
            let (top, left) = (2 * y, 2 * x);
            let sum = self.nearest(top, left)
                + self.nearest(top, left + 1)
                + self.nearest(top + 1, left)
                + self.nearest(top + 1, left + 1);
            (sum + 1 + (x % 2) as i32) >> 2
        })
    }

    /// The first columns.
    fn cropped(&self, width: usize) -> Self {
        Self::build(self.height(), width, |y, x| self.levels[y * self.width + x])
    }

    /// Twice as large, by triangles (`h2v2_fancy_upsample`), or by repetition where libjpeg finds that too
    /// narrow.
    fn doubled(&self, height: usize, width: usize) -> Self {
        if self.width <= 2 {
            return Self::build(height, width, |y, x| self.nearest(y / 2, x / 2));
        }
        let neighbour =
            |at: usize| if at.is_multiple_of(2) { (at / 2).saturating_sub(1) } else { at / 2 + 1 };
        let column = |y: usize, x: usize| 3 * self.nearest(y / 2, x) + self.nearest(neighbour(y), x);
        Self::build(height, width, |y, x| {
            let sum = 3 * column(y, x / 2) + column(y, neighbour(x));
            (sum + if x % 2 == 0 { 8 } else { 7 }) >> 4
        })
    }
}

/// The block's values around zero after quantisation of its frequencies.
fn quantise(block: &mut [i32; 64], table: &[i32; 64]) {
    forward(block);
    for (coefficient, step) in block.iter_mut().zip(table) {
        let levels = (coefficient.abs() + 4 * step) / (8 * step);
        *coefficient = levels * step * coefficient.signum();
    }
    inverse(block);
}

/// A fraction in 16-bit fixed point.
const fn fixed(value: f64) -> i32 {
    (value * 65536.0 + 0.5) as i32
}

const HALF: i32 = 1 << 15;

/// Brightness and colour, centred at 128 (JFIF 1.02, in libjpeg's `jccolor.c`).
fn to_ycc([r, g, b]: [i32; 3]) -> [i32; 3] {
    let centre = (128 << 16) + HALF - 1;
    [
        (fixed(0.29900) * r + fixed(0.58700) * g + fixed(0.11400) * b + HALF) >> 16,
        (-fixed(0.16874) * r - fixed(0.33126) * g + fixed(0.50000) * b + centre) >> 16,
        (fixed(0.50000) * r - fixed(0.41869) * g - fixed(0.08131) * b + centre) >> 16,
    ]
}

/// The way back (`jdcolor.c`).
fn to_rgb([y, cb, cr]: [i32; 3]) -> [i32; 3] {
    let (cb, cr) = (cb - 128, cr - 128);
    let red = y + ((fixed(1.40200) * cr + HALF) >> 16);
    let green = y + ((-fixed(0.34414) * cb - fixed(0.71414) * cr + HALF) >> 16);
    let blue = y + ((fixed(1.77200) * cb + HALF) >> 16);
    [red, green, blue].map(|level| level.clamp(0, 255))
}

/// An image `[channels, height, width]` of one or three channels in \[0,1\], after compression and back.
pub(crate) fn round_trip(
    image: &[f32],
    [channels, height, width]: [usize; 3],
    tables: &Tables,
    halve: bool,
) -> Vec<f32> {
    let size = height * width;
    let level =
        |channel: usize, at: usize| (image[channel * size + at] * 255.0).round().clamp(0.0, 255.0) as i32;
    let plane = |of: &(dyn Fn(usize) -> i32 + Sync)| Plane::build(height, width, |y, x| of(y * width + x));
    if channels == 1 {
        let grey = plane(&|at| level(0, at)).quantised(&tables.luma);
        return grey.levels.iter().map(|&level| level as f32 / 255.0).collect();
    }
    let components: [Plane; 3] = std::array::from_fn(|component| {
        let full = plane(&|at| to_ycc([level(0, at), level(1, at), level(2, at)])[component]);
        match component {
            0 => full.quantised(&tables.luma),
            _ if halve => {
                let half = full.halved().quantised(&tables.chroma);
                half.cropped(width.div_ceil(2)).doubled(height, width)
            }
            _ => full.quantised(&tables.chroma),
        }
    });
    let mut out = vec![0.0; 3 * size];
    for at in 0..size {
        let rgb = to_rgb([0, 1, 2].map(|component| components[component].levels[at]));
        rgb.iter().enumerate().for_each(|(channel, &level)| out[channel * size + at] = level as f32 / 255.0);
    }
    out
}
