//! Evaluation mode: the gradient with respect to the images, from the masks of the forward pass.

use rayon::prelude::*;

use super::bf16::{self, Bf16};
use super::buffer::{Buffer, Ptr};
use super::conv3::Conv3;
use super::crew::Crew;
use super::lanes::Aligned;
use super::masks::{EvalState, ImageState};
use super::packed::Packed;
use super::plane::Halo;
use super::simd::{Kernel, LANES, MAX_PIXELS, Simd, dispatch};
use super::stem::{StemBack, StemSize, Unpool};
use super::tile::{CHUNK, Conv, Epilogue, NO_ROWS, POINTWISE, convolve};
use super::winograd;

impl Packed {
    /// Gradient with respect to the images of a loss whose gradient with respect to the pooled features is `grad`.
    ///
    /// # Shapes
    ///
    /// - grad: `[n, features]`
    /// - result: `[n, in_channels, height, width]`
    ///
    /// # Panics
    ///
    /// If `grad` does not fit the state.
    pub(crate) fn backward(&self, state: &EvalState, grad: &[f32]) -> Vec<f32> {
        let (size, n) = (state.size, state.images.len());
        let features = self.plan.norm5.channels;
        assert_eq!(grad.len(), n * features, "gradient of {n} x {features} pooled features");
        let parts = rayon::current_num_threads().div_ceil(n.max(1));
        let mut images = vec![0.0; n * size.image()];
        let work =
            images.par_chunks_exact_mut(size.image()).zip(&state.images).zip(grad.par_chunks_exact(features));
        work.for_each(|((image, state), grad)| {
            Crew::gather(parts, |crew| self.backward_image(state, size, grad, image, crew));
        });
        images
    }

    fn backward_image(
        &self,
        state: &ImageState,
        size: StemSize,
        grad: &[f32],
        image: &mut [f32],
        crew: &Crew,
    ) {
        let plan = &self.plan;
        let sizes = size.blocks(plan);
        let gradient =
            |i: usize| Buffer::new((plan.blocks[i].planes * sizes[i].0 * sizes[i].1 + MAX_PIXELS) * LANES);
        let last = plan.blocks.len() - 1;
        let mut g = gradient(last);
        self.unpool_features(state, sizes[last].0 * sizes[last].1, grad, &mut g);
        for i in (0..=last).rev() {
            let (height, width) = sizes[i];
            let (halo, pixels) = (Halo { height, width }, height * width);
            let half = self.level.is_spatial_bf16();
            let mut dy = halo.planes(plan.growth_planes, half);
            let dz = Buffer::new((plan.mid_planes * pixels + MAX_PIXELS) * LANES);
            let wins = !half && winograd::pays(halo);
            let rounded = self.rounded(plan.mid_planes, crew);
            for (j, layer) in self.blocks[i].layers.iter().enumerate().rev() {
                let (mask1, mask2) = state.layer(i, j);
                let planes = plan.blocks[i].layers[j].planes;
                let new = &g[planes * pixels * LANES..][..plan.growth_planes * pixels * LANES];
                if half {
                    let rounded = RoundRows { dense: new, halo, y: dy.ptr() };
                    // SAFETY: both have planes of the halo's pixels.
                    unsafe { dispatch(self.level, rounded) };
                } else {
                    fill_halo(halo, new, &mut dy);
                }
                let conv = Conv3 {
                    level: self.level.spatial(),
                    x: dy.ptr(),
                    halo,
                    planes: plan.growth_planes,
                    out_planes: plan.mid_planes,
                    direct: &layer.conv2.direct.backward,
                    points: wins.then(|| layer.conv2.backward(self.level.spatial(), halo)),
                };
                let (scratch, (pieces, align)) = (conv.scratch(crew.parts()), conv.pieces());
                crew.split(pieces, align, |part, from, to| {
                    let then = Keep::<false> { masks: mask2, mask_plane: pixels, y: dz.ptr() };
                    // SAFETY: the buffers have these sizes, and the parts write different pixels.
                    unsafe { conv.run(&scratch, part, (from, to), then) }
                });
                crew.split(pixels, MAX_PIXELS, |part, from, to| {
                    let kernel = Pointwise {
                        x: dz.ptr(),
                        plane: pixels * LANES,
                        planes: plan.mid_planes,
                        weights: &layer.conv1.backward,
                        outs: (0, planes),
                        range: (from, to),
                        rounded: rounded.part(part).filter(|_| !half),
                        then: Keep::<true> { masks: mask1, mask_plane: pixels, y: g.ptr() },
                    };
                    // SAFETY: gradient and masks have these planes, and the parts write different pixels.
                    unsafe { dispatch(self.level, kernel) }
                });
            }
            if i > 0 {
                let (height, width) = sizes[i - 1];
                let mut before = gradient(i - 1);
                if height % 2 == 1 || width % 2 == 1 {
                    // A last odd row or column has no part in the average.
                    before.fill(0.0);
                }
                let (_, weights) =
                    self.blocks[i - 1].transition.as_ref().expect("a transition between two blocks");
                let rounded = self.rounded(plan.blocks[i].first_planes, crew);
                crew.split(pixels, MAX_PIXELS, |part, from, to| {
                    let kernel = Pointwise {
                        x: g.ptr(),
                        plane: pixels * LANES,
                        planes: plan.blocks[i].first_planes,
                        weights: &weights.backward,
                        outs: (0, plan.blocks[i - 1].planes),
                        range: (from, to),
                        rounded: rounded.part(part),
                        then: KeepSpread {
                            masks: state.transition(i - 1),
                            halo: Halo { height, width },
                            y: before.ptr(),
                        },
                    };
                    // SAFETY: the four pixels under one of the output's belong to its part alone.
                    unsafe { dispatch(self.level, kernel) }
                });
                g = before;
            }
        }
        let conv = Buffer::new((plan.stem_planes * size.conv_pixels() + MAX_PIXELS) * LANES);
        crew.split(size.conv_height, 2, |_, from, to| {
            let (planes, winners, rows) = (plan.stem_planes, state.winners.ptr(), (from, to));
            // SAFETY: the forward pass filled the winners, and the parts write different rows.
            unsafe {
                dispatch(self.level, Unpool { size, planes, d: g.ptr(), winners, rows, conv: conv.ptr() });
            }
        });
        let padded = Buffer::zeroed(size.padded());
        crew.split(size.padded_height(), 2, |_, from, to| {
            let (weights, rows) = (&self.stem.backward, (from, to));
            let kernel = StemBack { plan, size, weights, d: conv.ptr(), padded: padded.ptr(), rows };
            // SAFETY: the buffers have these sizes, and the parts write different rows.
            unsafe { dispatch(self.level, kernel) };
        });
        size.crop(&padded, image);
    }

    /// Where a level in bf16 rounds a chunk of planes, for each part.
    fn rounded(&self, planes: usize, crew: &Crew) -> Rounded {
        let part = if self.level.is_bf16() { (planes * CHUNK + bf16::MAX_PIXELS) * LANES / 2 } else { 0 };
        Rounded { buffer: Buffer::new(crew.parts() * part), part }
    }

    /// Backwards through the global average, ReLU and norm5.
    fn unpool_features(&self, state: &ImageState, pixels: usize, grad: &[f32], g: &mut [f32]) {
        let block = &self.plan.blocks[self.plan.blocks.len() - 1];
        g.fill(0.0);
        for (&grad, &lane) in grad.iter().zip(&block.lanes) {
            let value = grad / pixels as f32 * self.norm5.scale[lane];
            for px in 0..pixels {
                // SAFETY: the masks hold all planes and pixels.
                let bits = unsafe { *state.norm5.ptr().bits().add(lane / LANES * pixels + px) };
                if bits >> (lane % LANES) & 1 == 1 {
                    g[(lane / LANES * pixels + px) * LANES + lane % LANES] = value;
                }
            }
        }
    }
}

/// Copies dense planes into the pixels of haloed ones.
pub(super) fn fill_halo(halo: Halo, dense: &[f32], haloed: &mut [f32]) {
    for (dense, haloed) in
        dense.chunks_exact(halo.height * halo.width * LANES).zip(haloed.chunks_exact_mut(halo.plane()))
    {
        let rows = haloed[halo.lead()..].chunks_exact_mut(halo.row() * LANES);
        for (from, to) in dense.chunks_exact(halo.width * LANES).zip(rows) {
            to[..halo.width * LANES].copy_from_slice(from);
        }
    }
}

/// Working memory of [`Pointwise`].
struct Rounded {
    buffer: Buffer,
    part: usize,
}

impl Rounded {
    fn part(&self, part: usize) -> Option<Ptr> {
        (self.part > 0).then(|| self.buffer.ptr().at(part * self.part))
    }
}

/// Rounds dense planes to the pixels of haloed ones in bf16.
struct RoundRows<'a> {
    dense: &'a [f32],
    halo: Halo,
    y: Ptr,
}

impl Kernel for RoundRows<'_> {
    const BF16: bool = true;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Halo { height, width } = self.halo;
        for (index, pixel) in self.dense.chunks_exact(LANES).enumerate() {
            let (plane, row, column) = (index / (height * width), index / width % height, index % width);
            let at = self.halo.lead() + plane * self.halo.plane() + (row * self.halo.row() + column) * LANES;
            // SAFETY: the caller's contract.
            unsafe { S::Half::round(pixel.as_ptr(), self.y.halves().add(at)) };
        }
    }
}

/// 1x1 convolution of dense planes.
pub(super) struct Pointwise<'a, E> {
    pub x: Ptr,
    pub plane: usize,
    pub planes: usize,
    pub weights: &'a Buffer,
    /// Output planes that are computed.
    pub outs: (usize, usize),
    /// Of the pixels.
    pub range: (usize, usize),
    /// Where a level in bf16 rounds planes in float32, chunk by chunk: `planes * CHUNK` pixels and a tile. Without it,
    /// such a level takes planes in bf16.
    pub rounded: Option<Ptr>,
    pub then: E,
}

impl<E: Epilogue> Kernel for Pointwise<'_, E> {
    const BF16: bool = E::BF16;

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let conv = Conv {
            x: self.x.0,
            planes: self.planes,
            plane: self.plane,
            taps: &[0],
            row: NO_ROWS,
            depth: LANES,
            weights: self.weights.ptr().0,
            outs: self.outs,
            group: POINTWISE,
        };
        if let Some(rounded) = self.rounded.filter(|_| S::Half::AVAILABLE) {
            for from in (self.range.0..self.range.1).step_by(CHUNK) {
                let to = (from + CHUNK).min(self.range.1);
                // SAFETY: the caller's contract; there is room for a chunk of every plane and a tile.
                unsafe {
                    for (plane, px) in (0..self.planes).flat_map(|p| (from..to).map(move |px| (p, px))) {
                        let to = rounded.halves().add((plane * CHUNK + px - from) * LANES);
                        S::Half::round(self.x.0.add(plane * self.plane + px * LANES), to);
                    }
                    let x = rounded.halves().wrapping_sub(from * LANES).cast();
                    let conv = Conv { x, plane: CHUNK * LANES, ..conv };
                    convolve::<S, _, LANES>(&conv, from, to, &mut self.then);
                }
            }
            return;
        }
        // SAFETY: the caller's contract; there is room for a tile behind the input's end.
        unsafe { convolve::<S, _, LANES>(&conv, self.range.0, self.range.1, &mut self.then) }
    }
}

/// Writes, or adds, where ReLU let the gradient pass; zero elsewhere. What is written, not added, is in bf16 where 3x3
/// convolutions are.
struct Keep<const ADD: bool> {
    masks: Ptr,
    mask_plane: usize,
    y: Ptr,
}

impl<const ADD: bool> Epilogue for Keep<ADD> {
    const BF16: bool = true;

    #[inline(always)]
    unsafe fn tile<S: Simd>(&mut self, plane: usize, px: usize, count: usize, tile: *const f32) {
        let first = plane * self.mask_plane + px;
        let mut line = Aligned([0.0f32; LANES]);
        let half = S::Half::SPATIAL && !ADD;
        for p in 0..count {
            let y = if half { line.0.as_mut_ptr() } else { self.y.at((first + p) * LANES).0 };
            for v in (0..LANES).step_by(S::WIDTH) {
                // SAFETY: the caller's contract; masks and gradient have the same planes.
                unsafe {
                    let bits = *self.masks.bits().add(first + p) >> v;
                    let d = S::keep(bits, S::load(tile.add(p * LANES + v)));
                    S::store(y.add(v), if ADD { S::add(S::load(y.add(v)), d) } else { d });
                }
            }
            if half {
                // SAFETY: the caller's contract; in bf16 the pixels take half of the gradient's room.
                unsafe { S::Half::round(y, self.y.halves().add((first + p) * LANES)) };
            }
        }
    }

    #[inline(always)]
    fn ahead(&self, plane: usize, _unit: usize, px: usize, last: bool) -> [Option<*const f32>; 2] {
        let at = (plane * self.mask_plane + px) * LANES;
        [last.then(|| self.y.at(at).0.cast_const()), None]
    }
}

/// A quarter of the gradient to each of the four pixels of an average, where ReLU let it pass.
struct KeepSpread {
    masks: Ptr,
    halo: Halo,
    y: Ptr,
}

impl Epilogue for KeepSpread {
    const BF16: bool = true;

    #[inline(always)]
    unsafe fn tile<S: Simd>(&mut self, plane: usize, px: usize, count: usize, tile: *const f32) {
        let (width, out_width) = (self.halo.width, self.halo.width / 2);
        for p in 0..count {
            let first = plane * self.halo.height * width
                + (px + p) / out_width * 2 * width
                + (px + p) % out_width * 2;
            for at in [first, first + 1, first + width, first + width + 1] {
                for v in (0..LANES).step_by(S::WIDTH) {
                    // SAFETY: the caller's contract; masks and gradient hold the four pixels under the output's.
                    unsafe {
                        let bits = *self.masks.bits().add(at) >> v;
                        let d = S::mul(S::load(tile.add(p * LANES + v)), S::splat(0.25));
                        S::store(self.y.0.add(at * LANES + v), S::keep(bits, d));
                    }
                }
            }
        }
    }
}
