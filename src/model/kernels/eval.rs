//! Evaluation mode: the forward pass of one image at a time.

use rayon::prelude::*;

use super::buffer::{Buffer, Ptr};
use super::conv3::Conv3;
use super::crew::Crew;
use super::forward_kernels::{Bottleneck, NormPool, NormReluRows, NormTo, Transition, average};
use super::masks::{EvalState, ImageState};
use super::pack::{Affine, Weights};
use super::packed::Packed;
use super::plane::{Halo, NormRelu, Store};
use super::simd::{LANES, MAX_PIXELS, dispatch};
use super::stem::{StemConv, StemPool, StemSize};
use super::tile::CHUNK;
use super::winograd;

/// Pixels of a plane up to which threads share a 1x1 convolution by its output planes.
const FEW: usize = 64;

impl Packed {
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
        let work = |(image, pooled): (&[f32], &mut [f32])| {
            Crew::gather(parts, |crew| self.forward_image(image, size, None, pooled, crew))
        };
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
            Crew::gather(parts, |crew| self.forward_image(image, size, Some(&state), pooled, crew));
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
        let last = size.blocks(&self.plan)[self.plan.blocks.len() - 1];
        assert!(last.0 > 0 && last.1 > 0, "images of {height} x {width} are too small for this architecture");
        (size, rayon::current_num_threads().div_ceil(n.max(1)))
    }

    fn forward_image(
        &self,
        image: &[f32],
        size: StemSize,
        state: Option<&ImageState>,
        pooled: &mut [f32],
        crew: &Crew,
    ) {
        let plan = &self.plan;
        let sizes = size.blocks(plan);
        let features =
            |i: usize| Buffer::new((plan.blocks[i].planes * sizes[i].0 * sizes[i].1 + MAX_PIXELS) * LANES);
        let mut x = features(0);
        self.stem(image, size, state, x.ptr(), crew);
        for (i, (block, packed)) in plan.blocks.iter().zip(&self.blocks).enumerate() {
            let (height, width) = sizes[i];
            let (halo, pixels) = (Halo { height, width }, height * width);
            let half = self.level.is_spatial_bf16();
            let mid = halo.planes(plan.mid_planes, half);
            let widest = block.planes * (CHUNK + 1) + MAX_PIXELS;
            let scratch = Buffer::new(crew.parts() * widest * LANES);
            let wins = !half && winograd::pays(halo);
            for (j, layer) in packed.layers.iter().enumerate() {
                let masks = state.map(|s| s.layer(i, j));
                // Of few pixels the weights are most of what is read: each thread reads its own.
                let by_plane = pixels <= FEW;
                let (pieces, align) = if by_plane { (plan.mid_planes, 1) } else { (pixels, MAX_PIXELS) };
                crew.split(pieces, align, |part, from, to| {
                    let (outs, range) =
                        if by_plane { ((from, to), (0, pixels)) } else { ((0, plan.mid_planes), (from, to)) };
                    let kernel = Bottleneck {
                        norm: NormRelu {
                            x: x.ptr(),
                            plane: pixels * LANES,
                            planes: block.layers[j].planes,
                            scale: &layer.norm1.scale,
                            shift: &layer.norm1.shift,
                            // What every thread computes, one writes.
                            masks: masks.filter(|_| outs.0 == 0).map(|(m, _)| (m, pixels)),
                        },
                        weights: &layer.conv1.forward,
                        scratch: scratch.ptr().at(part * widest * LANES),
                        outs,
                        range,
                        then: NormReluRows {
                            scale: &layer.norm2.scale,
                            shift: &layer.norm2.shift,
                            y: mid.ptr().at(halo.lead() / if half { 2 } else { 1 }),
                            halo,
                            masks: masks.map(|(_, m)| (m, pixels)),
                        },
                    };
                    // SAFETY: the buffers have these sizes, and the parts write different pixels or planes.
                    unsafe { dispatch(self.level, kernel) }
                });
                let conv = Conv3 {
                    level: self.level.spatial(),
                    x: mid.ptr(),
                    halo,
                    planes: plan.mid_planes,
                    out_planes: plan.growth_planes,
                    direct: &layer.conv2.direct.forward,
                    points: wins.then(|| layer.conv2.forward(self.level.spatial(), halo)),
                };
                let y = x.ptr().at(block.layers[j].planes * pixels * LANES);
                let (scratch, (pieces, align)) = (conv.scratch(crew.parts()), conv.pieces());
                crew.split(pieces, align, |part, from, to| {
                    // SAFETY: the buffers have these sizes, and the parts write different pixels.
                    unsafe { conv.run(&scratch, part, (from, to), Store { y, plane: pixels * LANES }) }
                });
            }
            if let Some((norm, weights)) = &packed.transition {
                let next = features(i + 1);
                self.transition(i, halo, norm, weights, &x, &next, state, crew);
                x = next;
            }
        }
        let last = plan.blocks.len() - 1;
        self.pool(&mut x, sizes[last].0 * sizes[last].1, state, pooled);
    }

    fn stem(&self, image: &[f32], size: StemSize, state: Option<&ImageState>, y: Ptr, crew: &Crew) {
        /// Pooled rows between two looks at the weights: their 17 rows of the convolution stay in the cache.
        const STRIPE: usize = 8;
        let planes = self.plan.stem_planes;
        let mut padded = Buffer::new(size.padded());
        size.pad(image, &mut padded);
        let conv_plane = (2 * STRIPE + 1) * size.conv_width * LANES;
        let conv = Buffer::new(crew.parts() * planes * conv_plane);
        crew.split(size.height_out, 1, |part, from, to| {
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
        crew: &Crew,
    ) {
        let block = &self.plan.blocks[i];
        let pixels_out = (halo.height / 2) * (halo.width / 2);
        let pooled = Buffer::new((block.planes * pixels_out + MAX_PIXELS) * LANES);
        crew.split(pixels_out, MAX_PIXELS, |_, from, to| {
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
