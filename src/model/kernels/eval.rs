//! Evaluation mode: packed weights and the forward pass of one image at a time.

use rayon::prelude::*;

use super::arch::{Arch, Layer, Norm, Plan};
use super::buffer::{Buffer, Ptr, split};
use super::eval_grad::{EvalState, ImageState};
use super::pack::{Affine, Folded, Weights, frozen_affine};
use super::plane::{CHUNK, Halo, NormRelu, Rows, Store};
use super::simd::{Kernel, LANES, Level, MAX_PIXELS, Simd, dispatch};
use super::stem::{StemConv, StemPool, StemSize};
use super::tile::{Conv, Epilogue, convolve};

/// A network's weights with its running statistics folded in, packed for the kernels.
///
/// Made once for a frozen network and used by any number of threads.
pub(crate) struct Packed {
    pub(super) plan: Plan,
    pub(super) level: Level,
    pub(super) stem: Weights,
    pub(super) norm0: Affine,
    pub(super) blocks: Vec<PackedBlock>,
    pub(super) norm5: Affine,
}

pub(super) struct PackedBlock {
    pub layers: Vec<PackedLayer>,
    pub transition: Option<(Affine, Weights)>,
}

pub(super) struct PackedLayer {
    pub norm1: Affine,
    pub conv1: Weights,
    pub norm2: Affine,
    pub conv2: Weights,
}

/// Height and width of every block for images of this size.
pub(super) fn block_sizes(plan: &Plan, stem: StemSize) -> Vec<(usize, usize)> {
    (0..plan.blocks.len()).map(|i| (stem.height_out >> i, stem.width_out >> i)).collect()
}

impl Packed {
    /// Packs flat parameters and running statistics, in the orders of [`Arch::parameters`] and [`Arch::statistics`].
    ///
    /// # Panics
    ///
    /// If a vector's length is not the architecture's.
    pub(crate) fn new(arch: &Arch, params: &[f32], stats: &[f32]) -> Packed {
        Self::with_level(arch, params, stats, Level::current())
    }

    /// The same at a given instruction level.
    ///
    /// # Panics
    ///
    /// As [`Packed::new`], and if the machine cannot run the level.
    pub(crate) fn with_level(arch: &Arch, params: &[f32], stats: &[f32], level: Level) -> Packed {
        assert!(level.is_available(), "{level:?} is not available on this machine");
        let plan = arch.plan();
        assert_eq!(params.len(), plan.num_parameters, "length of the parameters");
        assert_eq!(stats.len(), plan.num_statistics, "length of the running statistics");
        let affine = |norm: &Norm| frozen_affine(norm, params, stats, plan.eps);
        let identity = plan.identity();
        let blocks = plan.blocks.iter().map(|block| {
            let pack_layer = |layer: &Layer| {
                let (norm1, norm2) = (affine(&layer.norm1), affine(&layer.norm2));
                let folded = Folded { out: Some(&norm2.scale), inp: Some(&norm1.scale) };
                PackedLayer {
                    conv1: Weights::pack(params, &layer.conv1, &identity, &block.lanes, folded),
                    conv2: Weights::pack(params, &layer.conv2, &identity, &identity, Folded::default()),
                    norm1: norm1.spread(&block.lanes),
                    norm2: norm2.spread(&identity),
                }
            };
            let transition = block.transition.as_ref().map(|transition| {
                let norm = affine(&transition.norm);
                let folded = Folded { out: None, inp: Some(&norm.scale) };
                let weights = Weights::pack(params, &transition.conv, &identity, &block.lanes, folded);
                (norm.spread(&block.lanes), weights)
            });
            PackedBlock { layers: block.layers.par_iter().map(pack_layer).collect(), transition }
        });
        let (norm0, norm5) = (affine(&plan.norm0), affine(&plan.norm5));
        let blocks = blocks.collect();
        Packed {
            level,
            stem: Weights::pack_stem(params, &plan, Some(&norm0.scale)),
            norm0: norm0.spread(&identity),
            norm5: norm5.spread(&plan.blocks[plan.blocks.len() - 1].lanes),
            blocks,
            plan,
        }
    }

    /// Pooled features of a batch of images.
    ///
    /// # Shapes
    ///
    /// - images: `[n, in_channels, height, width]`, with `[n, height, width]` given as `shape`
    /// - result: `[n, features]`
    ///
    /// # Panics
    ///
    /// If the shapes do not fit, or the architecture does not support the size.
    pub(crate) fn forward(&self, images: &[f32], shape: [usize; 3]) -> Vec<f32> {
        let mut pooled = vec![0.0; shape[0] * self.plan.norm5.channels];
        let (size, parts) = self.check(images.len(), shape);
        let work =
            |(image, pooled): (&[f32], &mut [f32])| self.forward_image(image, size, None, pooled, parts);
        let images = images.par_chunks_exact(size.image());
        images.zip(pooled.par_chunks_exact_mut(self.plan.norm5.channels)).for_each(work);
        pooled
    }

    /// [`Packed::forward`], with what [`Packed::backward`] needs: one bit an activation.
    ///
    /// # Panics
    ///
    /// As [`Packed::forward`].
    pub(crate) fn forward_saving(&self, images: &[f32], shape: [usize; 3]) -> (Vec<f32>, EvalState) {
        let mut pooled = vec![0.0; shape[0] * self.plan.norm5.channels];
        let (size, parts) = self.check(images.len(), shape);
        let work = |(image, pooled): (&[f32], &mut [f32])| {
            let state = ImageState::new(&self.plan, size);
            self.forward_image(image, size, Some(&state), pooled, parts);
            state
        };
        let images = images.par_chunks_exact(size.image());
        let states = images.zip(pooled.par_chunks_exact_mut(self.plan.norm5.channels)).map(work).collect();
        (pooled, EvalState { size, images: states })
    }

    /// The stem's sizes, and into how many parts an image is split: images are parallel where there are enough.
    pub(super) fn check(&self, len: usize, [n, height, width]: [usize; 3]) -> (StemSize, usize) {
        assert_eq!(
            len,
            n * self.plan.in_channels * height * width,
            "images for [n, height, width] = {:?}",
            [n, height, width]
        );
        assert!(height > 0 && width > 0, "empty images");
        let size = StemSize::new(self.plan.in_channels, height, width);
        let last = block_sizes(&self.plan, size)[self.plan.blocks.len() - 1];
        assert!(last.0 > 0 && last.1 > 0, "images of {height} x {width} are too small for this architecture");
        (size, rayon::current_num_threads().div_ceil(n.max(1)))
    }

    fn forward_image(
        &self,
        image: &[f32],
        size: StemSize,
        state: Option<&ImageState>,
        pooled: &mut [f32],
        parts: usize,
    ) {
        let plan = &self.plan;
        let sizes = block_sizes(plan, size);
        let features =
            |i: usize| Buffer::new((plan.blocks[i].planes * sizes[i].0 * sizes[i].1 + MAX_PIXELS) * LANES);
        let mut x = features(0);
        self.stem(image, size, state, x.ptr(), parts);
        for (i, (block, packed)) in plan.blocks.iter().zip(&self.blocks).enumerate() {
            let (height, width) = sizes[i];
            let (halo, pixels) = (Halo { height, width }, height * width);
            let mut mid = Buffer::new(plan.mid_planes * halo.plane());
            halo.clear(&mut mid);
            let widest = block.planes * (CHUNK + 1) + MAX_PIXELS;
            let scratch = Buffer::new(parts * widest * LANES);
            for (j, layer) in packed.layers.iter().enumerate() {
                let masks = state.map(|s| s.layer(i, j));
                split(parts, pixels, MAX_PIXELS, |part, from, to| {
                    let kernel = Bottleneck {
                        norm: NormRelu {
                            x: x.ptr(),
                            plane: pixels * LANES,
                            planes: block.layers[j].planes,
                            scale: &layer.norm1.scale,
                            shift: &layer.norm1.shift,
                            masks: masks.map(|(m, _)| (m, pixels)),
                        },
                        weights: &layer.conv1.forward,
                        scratch: scratch.ptr().at(part * widest * LANES),
                        out_planes: plan.mid_planes,
                        range: (from, to),
                        then: NormReluRows {
                            scale: &layer.norm2.scale,
                            shift: &layer.norm2.shift,
                            y: mid.ptr().at(halo.lead()),
                            halo,
                            masks: masks.map(|(_, m)| (m, pixels)),
                        },
                    };
                    // SAFETY: the buffers have these sizes, and the parts write different pixels.
                    unsafe { dispatch(self.level, kernel) }
                });
                split(parts, halo.stream(), MAX_PIXELS, |_, from, to| {
                    let kernel = Conv3 {
                        x: mid.ptr(),
                        halo,
                        planes: plan.mid_planes,
                        weights: &layer.conv2.forward,
                        out_planes: plan.growth_planes,
                        range: (from, to),
                        then: Store {
                            y: x.ptr().at(block.layers[j].planes * pixels * LANES),
                            plane: pixels * LANES,
                        },
                    };
                    // SAFETY: as above.
                    unsafe { dispatch(self.level, kernel) }
                });
            }
            if let Some((norm, weights)) = &packed.transition {
                let next = features(i + 1);
                self.transition(i, halo, norm, weights, &x, &next, state, parts);
                x = next;
            }
        }
        let last = plan.blocks.len() - 1;
        self.pool(&mut x, sizes[last].0 * sizes[last].1, state, pooled);
    }

    fn stem(&self, image: &[f32], size: StemSize, state: Option<&ImageState>, y: Ptr, parts: usize) {
        /// Pooled rows between two looks at the weights: their 17 rows of the convolution stay in the cache.
        const STRIPE: usize = 8;
        let planes = self.plan.stem_planes;
        let mut padded = Buffer::new(size.padded());
        size.pad(image, &mut padded);
        let conv_plane = (2 * STRIPE + 1) * size.conv_width * LANES;
        let conv = Buffer::new(parts * planes * conv_plane);
        split(parts, size.height_out, STRIPE, |part, from, to| {
            let conv = conv.ptr().at(part * planes * conv_plane);
            for from in (from..to).step_by(STRIPE) {
                let to = (from + STRIPE).min(to);
                let first = (2 * from).saturating_sub(1);
                // SAFETY: the stripe's rows fit into `conv`, and the parts write different rows.
                unsafe {
                    let rows = (first, (2 * to).min(size.conv_height));
                    let (weights, padded) = (&self.stem.forward, padded.ptr());
                    dispatch(
                        self.level,
                        StemConv { size, planes, weights, padded, rows, y: conv, plane: conv_plane },
                    );
                    let (scale, shift) = (&self.norm0.scale[..], &self.norm0.shift[..]);
                    let winners = state.map(|s| s.winners.ptr());
                    let rows = (from, to);
                    dispatch(
                        self.level,
                        StemPool { size, planes, conv, conv_plane, first, scale, shift, rows, y, winners },
                    );
                }
            }
        });
    }

    #[allow(clippy::too_many_arguments)] // One caller; a struct would only repeat the names.
    fn transition(
        &self,
        i: usize,
        halo: Halo,
        norm: &Affine,
        weights: &Weights,
        x: &Buffer,
        y: &Buffer,
        state: Option<&ImageState>,
        parts: usize,
    ) {
        let block = &self.plan.blocks[i];
        let pixels_out = (halo.height / 2) * (halo.width / 2);
        let pooled = Buffer::new((block.planes * pixels_out + MAX_PIXELS) * LANES);
        split(parts, pixels_out, MAX_PIXELS, |_, from, to| {
            let kernel = Transition {
                pool: NormPool {
                    norm: NormRelu {
                        x: x.ptr(),
                        plane: halo.height * halo.width * LANES,
                        planes: block.planes,
                        scale: &norm.scale,
                        shift: &norm.shift,
                        masks: state.map(|s| (s.transition(i), halo.height * halo.width)),
                    },
                    halo,
                    y: pooled.ptr(),
                },
                weights: &weights.forward,
                out_planes: self.plan.blocks[i + 1].first_planes,
                range: (from, to),
                y: y.ptr(),
            };
            // SAFETY: the buffers have these sizes, and the parts write different pixels.
            unsafe { dispatch(self.level, kernel) }
        });
    }

    /// norm5, ReLU and the global average.
    fn pool(&self, x: &mut Buffer, pixels: usize, state: Option<&ImageState>, pooled: &mut [f32]) {
        let block = &self.plan.blocks[self.plan.blocks.len() - 1];
        let y = Buffer::new(block.planes * pixels * LANES);
        let norm = NormRelu {
            x: x.ptr(),
            plane: pixels * LANES,
            planes: block.planes,
            scale: &self.norm5.scale,
            shift: &self.norm5.shift,
            masks: state.map(|s| (s.norm5.ptr(), pixels)),
        };
        // SAFETY: the buffers have these sizes.
        unsafe { dispatch(self.level, NormTo { norm, pixels, y: y.ptr() }) };
        average(&y, pixels, &block.lanes, pooled);
    }
}

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
    /// `planes * (CHUNK + 1) + MAX_PIXELS` pixels.
    pub scratch: Ptr,
    pub out_planes: usize,
    pub range: (usize, usize),
    pub then: E,
}

impl<E: Epilogue> Kernel for Bottleneck<'_, E> {
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let chunk = CHUNK / S::PIXELS * S::PIXELS;
        let plane = (CHUNK + 1) * LANES;
        for from in (self.range.0..self.range.1).step_by(chunk) {
            let to = (from + chunk).min(self.range.1);
            let conv = Conv {
                x: self.scratch.0.wrapping_sub(from * LANES),
                planes: self.norm.planes,
                plane,
                taps: &[0],
                depth: LANES,
                weights: self.weights.ptr().0,
                out_planes: self.out_planes,
            };
            // SAFETY: the caller's contract; the scratch holds a chunk of every plane and a tile behind it.
            unsafe {
                self.norm.run::<S>(from, to, self.scratch.0, plane);
                convolve::<S, _, LANES>(&conv, from, to, &mut self.then);
            }
        }
    }
}

/// 3x3 convolution of haloed planes to dense ones.
pub(super) struct Conv3<'a, E> {
    pub x: Ptr,
    pub halo: Halo,
    pub planes: usize,
    pub weights: &'a Buffer,
    pub out_planes: usize,
    /// Of the stream.
    pub range: (usize, usize),
    pub then: E,
}

impl<E: Epilogue> Kernel for Conv3<'_, E> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let taps = self.halo.taps();
        let conv = Conv {
            x: self.x.0.wrapping_add(self.halo.lead()),
            planes: self.planes,
            plane: self.halo.plane(),
            taps: &taps,
            depth: LANES,
            weights: self.weights.ptr().0,
            out_planes: self.out_planes,
        };
        let chunk = CHUNK / S::PIXELS * S::PIXELS;
        let mut then = Rows { halo: self.halo, then: self.then };
        for from in (self.range.0..self.range.1).step_by(chunk) {
            // SAFETY: the caller's contract; a haloed plane has room for a tile behind its end.
            unsafe { convolve::<S, _, LANES>(&conv, from, (from + chunk).min(self.range.1), &mut then) }
        }
    }
}

/// Norm and ReLU, to the rows of a haloed plane.
struct NormReluRows<'a> {
    scale: &'a [f32],
    shift: &'a [f32],
    y: Ptr,
    halo: Halo,
    masks: Option<(Ptr, usize)>,
}

impl Epilogue for NormReluRows<'_> {
    #[inline(always)]
    unsafe fn tile<S: Simd>(&mut self, plane: usize, px: usize, count: usize, tile: *const f32) {
        let scale = self.scale[plane * LANES..][..LANES].as_ptr();
        let shift = self.shift[plane * LANES..][..LANES].as_ptr();
        let (mut row, mut column) = (px / self.halo.width, px % self.halo.width);
        for p in 0..count {
            // SAFETY: the caller's contract; the pixel lies in the haloed plane.
            unsafe {
                let y = self.y.0.add(plane * self.halo.plane() + (row * self.halo.row() + column) * LANES);
                let mut bits = 0;
                for v in (0..LANES).step_by(S::WIDTH) {
                    let x = S::load(tile.add(p * LANES + v));
                    let r = S::relu(S::mul_add(x, S::load(scale.add(v)), S::load(shift.add(v))));
                    S::store(y.add(v), r);
                    bits |= S::active(r) << v;
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

/// Norm, ReLU and 2x2 average of all planes.
pub(super) struct NormPool<'a> {
    pub norm: NormRelu<'a>,
    pub halo: Halo,
    pub y: Ptr,
}

impl NormPool<'_> {
    /// Pixels `from..to` of the output.
    ///
    /// # Safety
    ///
    /// As for [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd>(&self, from: usize, to: usize) {
        let (width, out_width) = (self.halo.width, self.halo.width / 2);
        let pixels = out_width * (self.halo.height / 2);
        for plane in 0..self.norm.planes {
            let scale = self.norm.scale[plane * LANES..][..LANES].as_ptr();
            let shift = self.norm.shift[plane * LANES..][..LANES].as_ptr();
            for out in from..to {
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
                        let to = self.y.0.add((plane * pixels + out) * LANES + v);
                        S::store(to, S::mul(sum, S::splat(0.25)));
                    }
                }
                if let Some((masks, mask_plane)) = self.norm.masks {
                    for (px, bits) in under.iter().zip(bits) {
                        // SAFETY: as above.
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
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pixels = (self.pool.halo.height / 2) * (self.pool.halo.width / 2);
        let conv = Conv {
            x: self.pool.y.0,
            planes: self.pool.norm.planes,
            plane: pixels * LANES,
            taps: &[0],
            depth: LANES,
            weights: self.weights.ptr().0,
            out_planes: self.out_planes,
        };
        // SAFETY: the caller's contract; the pooled buffer has room for a tile behind its end.
        unsafe {
            self.pool.run::<S>(self.range.0, self.range.1);
            convolve::<S, _, LANES>(
                &conv,
                self.range.0,
                self.range.1,
                &mut Store { y: self.y, plane: pixels * LANES },
            );
        }
    }
}
