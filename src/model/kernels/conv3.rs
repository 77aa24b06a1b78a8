//! 3x3 convolutions of haloed planes to dense ones, by the algorithm that suits the planes' size.

use super::bf16::Bf16;
use super::buffer::{Buffer, Ptr};
use super::plane::{Halo, Rows};
use super::simd::{Kernel, LANES, Level, MAX_PIXELS, Simd, dispatch};
use super::tile::{Conv, Epilogue, KERNEL_ROW, NO_ROWS, convolve};
use super::winograd::{self, Points, Tiles, Winograd};

/// A 3x3 convolution of haloed planes at `x`.
#[derive(Clone, Copy)]
pub(super) struct Conv3<'a> {
    pub level: Level,
    pub x: Ptr,
    pub halo: Halo,
    pub planes: usize,
    pub out_planes: usize,
    /// The packed weights.
    pub direct: &'a Buffer,
    /// The weights of Winograd's algorithm, where that is to be used.
    pub points: Option<Points<'a>>,
}

impl Conv3<'_> {
    /// What there is to do, and the multiples at which it may be cut.
    pub(super) fn pieces(&self) -> (usize, usize) {
        match self.points {
            Some(_) => (Tiles::of(self.halo).count(), 1),
            None => (self.halo.height * self.halo.width, MAX_PIXELS),
        }
    }

    /// Working memory of so many parts.
    pub(super) fn scratch(&self, parts: usize) -> Buffer {
        Buffer::new(self.points.map_or(0, |_| parts * winograd::scratch(self.planes, self.out_planes)))
    }

    /// Does pieces `range.0..range.1` and hands their pixels to `then`.
    ///
    /// # Safety
    ///
    /// The planes and the weights must have the sizes that this convolution says, and `then`'s pointers be valid for the
    /// pixels; `scratch` must hold `part`, which no two threads may be at once.
    pub(super) unsafe fn run<E: Epilogue>(
        &self,
        scratch: &Buffer,
        part: usize,
        range: (usize, usize),
        then: E,
    ) {
        // SAFETY: the caller's contract.
        unsafe { self.some(scratch, part, range, (0, self.out_planes), then) }
    }

    /// Output planes `outs.0..outs.1` of all pieces, as [`Conv3::run`].
    ///
    /// # Safety
    ///
    /// As there.
    pub(super) unsafe fn planes<E: Epilogue>(
        &self,
        scratch: &Buffer,
        part: usize,
        outs: (usize, usize),
        then: E,
    ) {
        // SAFETY: the caller's contract.
        unsafe { self.some(scratch, part, (0, self.pieces().0), outs, then) }
    }

    /// # Safety
    ///
    /// As [`Conv3::run`].
    unsafe fn some<E: Epilogue>(
        &self,
        scratch: &Buffer,
        part: usize,
        range: (usize, usize),
        outs: (usize, usize),
        then: E,
    ) {
        let &Conv3 { level, x, halo, planes, out_planes, direct, points } = self;
        // SAFETY: the caller's contract.
        unsafe {
            match points {
                Some(weights) => {
                    let scratch = scratch.ptr().at(part * winograd::scratch(planes, out_planes));
                    let kernel =
                        Winograd { x, halo, planes, weights, out_planes, outs, range, scratch, then };
                    dispatch(level, kernel)
                }
                None => dispatch(level, Direct { x, halo, planes, weights: direct, outs, range, then }),
            }
        }
    }
}

/// The convolution as it is defined, of planes and weights in bf16 where the level multiplies in it.
struct Direct<'a, E> {
    x: Ptr,
    halo: Halo,
    planes: usize,
    weights: &'a Buffer,
    outs: (usize, usize),
    /// Of the output's pixels.
    range: (usize, usize),
    then: E,
}

impl<E: Epilogue> Kernel for Direct<'_, E> {
    const BF16: bool = E::BF16;

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let (taps, width, (from, to)) = (self.halo.taps(), self.halo.width, self.range);
        let stream = Conv {
            x: if S::Half::AVAILABLE {
                self.x.halves().wrapping_add(self.halo.lead()).cast()
            } else {
                self.x.0.wrapping_add(self.halo.lead())
            },
            planes: self.planes,
            plane: self.halo.plane(),
            taps: &taps,
            row: NO_ROWS,
            depth: LANES,
            weights: self.weights.ptr().0,
            outs: self.outs,
            group: KERNEL_ROW,
        };
        // SAFETY: the caller's contract; a haloed plane has room for a tile behind its end.
        unsafe {
            if !S::Half::AVAILABLE && width % S::PIXELS == 0 && from % S::PIXELS == 0 {
                let rows = Conv { row: width, ..stream };
                convolve::<S, _, LANES>(&rows, from, to, &mut self.then);
            } else {
                // Where tiles do not fit the rows, the halo's column is computed too, and left out.
                let (from, to) = (from + from / width, to + to.saturating_sub(1) / width);
                let mut then = Rows { halo: self.halo, then: self.then };
                convolve::<S, _, LANES>(&stream, from, to, &mut then);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bf16::{self, tests::rounded};
    use super::super::pack;
    use super::super::plane::Store;
    use super::super::reference::{Random, distance};
    use super::*;

    /// Haloed planes of random numbers.
    fn planes(random: &mut Random, halo: Halo, count: usize) -> Buffer {
        let mut x = Buffer::new(count * halo.plane());
        x.copy_from_slice(&random.vector(count * halo.plane(), -1.0, 1.0));
        halo.clear(&mut x);
        // What is behind the end may be anything.
        for plane in x.chunks_exact_mut(halo.plane()) {
            plane[halo.plane() - MAX_PIXELS * LANES..].fill(f32::NAN);
        }
        x
    }

    /// The convolution by its definition in float64, of the packed weights.
    fn defined(x: &[f32], weights: &[f32], halo: Halo, planes: usize, out_planes: usize) -> Vec<f64> {
        let mut y = vec![0.0; out_planes * halo.height * halo.width * LANES];
        for (index, y) in y.chunks_exact_mut(LANES).enumerate() {
            let (out, px) = (index / (halo.height * halo.width), index % (halo.height * halo.width));
            let center = halo.lead() + (px / halo.width * halo.row() + px % halo.width) * LANES;
            for (plane, (t, tap)) in
                (0..planes).flat_map(|p| halo.taps().into_iter().enumerate().map(move |t| (p, t)))
            {
                let x = &x[(plane * halo.plane() + center).checked_add_signed(tap).unwrap()..][..LANES];
                let weights = &weights[((out * planes + plane) * 9 + t) * LANES * LANES..];
                for (x, weights) in x.iter().zip(weights.chunks_exact(LANES)) {
                    y.iter_mut().zip(weights).for_each(|(y, w)| *y += f64::from(*x) * f64::from(*w));
                }
            }
        }
        y
    }

    #[test]
    fn both_algorithms_are_the_convolution_at_any_size_and_level() {
        let mut random = Random(11);
        let sides = [(1, 1), (2, 3), (7, 7), (8, 9), (13, 14), (16, 15), (29, 6), (5, 33), (64, 17), (3, 61)];
        for ((height, width), (planes_in, out_planes)) in
            sides.into_iter().flat_map(|side| [(1, 1), (1, 4), (4, 1), (3, 2)].map(|planes| (side, planes)))
        {
            let halo = Halo { height, width };
            let x = planes(&mut random, halo, planes_in);
            let mut weights = Buffer::new(out_planes * planes_in * 9 * LANES * LANES);
            let count = weights.len();
            weights.copy_from_slice(&random.vector(count, -0.1, 0.1));
            let expected = defined(&x, &weights, halo, planes_in, out_planes);
            for level in Level::available() {
                let made = winograd::transform(level, &weights);
                let mut made_whole = None;
                for points in [None, Some(Points::Made(&made)), Some(Points::Packed(&weights))] {
                    let conv = Conv3 {
                        level,
                        x: x.ptr(),
                        halo,
                        planes: planes_in,
                        out_planes,
                        direct: &weights,
                        points,
                    };
                    let (pieces, align) = conv.pieces();
                    let scratch = conv.scratch(2);
                    let plane = height * width * LANES;
                    let y = Buffer::zeroed(out_planes * plane);
                    let then = || Store { y: y.ptr(), plane };
                    let what = format!(
                        "{height} x {width}, {planes_in} to {out_planes} planes, {level:?}, {points:?}",
                        points = points.is_some()
                    );
                    // SAFETY: the buffers have these sizes, and one thread is all parts.
                    unsafe { conv.run(&scratch, 0, (0, pieces), then()) };
                    let whole = y.to_vec();
                    let (error, bound) =
                        (distance(&whole, &expected), if points.is_some() { 5e-6 } else { 1e-6 });
                    assert!(error < bound, "{what}: {error}");
                    if points.is_some() {
                        let before = made_whole.get_or_insert_with(|| whole.clone());
                        assert!(whole == *before, "{what}: weights made before or in between");
                    }
                    let middle = (pieces / 2).next_multiple_of(align).min(pieces);
                    // SAFETY: the parts follow each other, and every plane lies in `y`.
                    unsafe {
                        conv.run(&scratch, 1, (middle, pieces), then());
                        conv.run(&scratch, 0, (0, middle), then());
                        assert!(whole == y[..], "{what}, in two pieces");
                        for out in 0..out_planes {
                            conv.planes(&scratch, out % 2, (out, out + 1), then());
                        }
                    }
                    assert!(whole == y[..], "{what}, plane by plane");
                }
            }
            let (inputs, factors) = (rounded(&x), rounded(&weights));
            let expected = defined(&inputs, &factors, halo, planes_in, out_planes);
            let mut halves = Buffer::new((x.len() + bf16::MAX_PIXELS * LANES).div_ceil(2));
            for (half, &x) in halves.halves().iter_mut().zip(x.iter()) {
                *half = half::bf16::from_f32(x).to_bits();
            }
            let packed = pack::halves(&weights);
            for level in Level::tested_bf16().into_iter().filter(|&level| level == level.spatial()) {
                let (x, direct) = (halves.ptr(), &packed);
                let conv = Conv3 { level, x, halo, planes: planes_in, out_planes, direct, points: None };
                let plane = height * width * LANES;
                let y = Buffer::zeroed(out_planes * plane);
                let then = || Store { y: y.ptr(), plane };
                // SAFETY: the buffers have these sizes, and one thread is all parts.
                unsafe { conv.run(&conv.scratch(1), 0, (0, conv.pieces().0), then()) };
                let error = distance(&y, &expected);
                assert!(
                    error < 1e-6,
                    "{height} x {width}, {planes_in} to {out_planes} planes, {level:?}: {error}"
                );
            }
        }
    }
}
