//! The steps of a training pass, each over a whole batch.

use rayon::prelude::*;

use super::arch::{Layer, Plan};
use super::buffer::{Buffer, Ptr};
use super::conv3::Conv3;
use super::crew::Crew;
use super::forward_kernels::{Bottleneck, NormPool, NormTo, Transition, average};
use super::pack::Weights;
use super::plane::{Halo, NormRelu, Store};
use super::simd::{Kernel, LANES, Level, MAX_PIXELS, Simd, dispatch};
use super::stem::{StemConv, StemPool, StemSize};
use super::tile::CHUNK;
use super::train_norm::{ImageMoments, NormState};
use super::winograd;
use super::workers::Workers;

/// What every step of the forward pass needs.
pub(super) struct Batch<'a> {
    pub plan: &'a Plan,
    pub level: Level,
    pub workers: &'a Workers<'a>,
    pub n: usize,
    pub size: StemSize,
    pub wants_moments: bool,
}

/// A norm and ReLU, from dense planes into haloed ones.
pub(super) struct NormHalo<'a> {
    pub norm: NormRelu<'a>,
    pub halo: Halo,
    pub rows: (usize, usize),
    pub y: Ptr,
}

impl Kernel for NormHalo<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (halo, width) = (self.halo, self.halo.width);
        for row in self.rows.0..self.rows.1 {
            let y = self.y.at(halo.lead() + row * halo.row() * LANES);
            // SAFETY: the caller's contract; the row lies in the haloed planes.
            unsafe { self.norm.run::<S>(row * width, (row + 1) * width, y.0, halo.plane()) }
        }
    }
}

/// norm1, ReLU and conv1 of one image.
pub(super) struct BottleneckImage<'a> {
    pub level: Level,
    pub norm: NormRelu<'a>,
    pub weights: &'a Weights,
    pub pixels: usize,
    pub out_planes: usize,
    pub y: Ptr,
}

impl BottleneckImage<'_> {
    /// # Safety
    ///
    /// The planes must have these pixels.
    pub(super) unsafe fn run(&self, crew: &Crew) {
        let &BottleneckImage { level, norm, weights, pixels, out_planes, y } = self;
        let widest = (norm.planes * (CHUNK + 1) + MAX_PIXELS) * LANES;
        let scratch = Buffer::new(crew.parts() * widest);
        crew.split(pixels, MAX_PIXELS, |part, from, to| {
            let kernel = Bottleneck {
                norm,
                weights: &weights.forward,
                scratch: scratch.ptr().at(part * widest),
                outs: (0, out_planes),
                range: (from, to),
                then: Store { y, plane: pixels * LANES },
            };
            // SAFETY: the caller's contract; the parts write different pixels.
            unsafe { dispatch(level, kernel) }
        });
    }
}

impl Batch<'_> {
    /// Runs `work(image, crew)` for all images, and then the moments of the planes that it wrote at
    /// `y + image * stride`.
    fn images(
        &self,
        y: Ptr,
        stride: usize,
        planes: usize,
        pixels: usize,
        work: impl Fn(usize, &Crew) + Sync,
    ) -> Vec<(f64, f64)> {
        let moments = self.workers.map(self.n, |image, crew| {
            work(image, crew);
            let y = y.at(image * stride);
            self.wants_moments.then(|| ImageMoments::of(self.level, crew, y, planes, pixels))
        });
        let moments: Vec<_> = moments.into_iter().flatten().collect();
        ImageMoments::finish(&moments, self.n * pixels)
    }

    pub(super) fn stem_conv(&self, stem: &Weights, images: &[f32]) -> (Buffer, Buffer, Vec<(f64, f64)>) {
        let (size, planes) = (self.size, self.plan.stem_planes);
        let (stride, plane) = (planes * size.conv_pixels() * LANES, size.conv_pixels() * LANES);
        let conv0 = Buffer::new(self.n * stride);
        let mut padded = Buffer::new(self.n * size.padded());
        let work = |(image, padded): (&[f32], &mut [f32])| size.pad(image, padded);
        images.par_chunks_exact(size.image()).zip(padded.par_chunks_exact_mut(size.padded())).for_each(work);
        let moments = self.images(conv0.ptr(), stride, planes, size.conv_pixels(), |image, crew| {
            crew.split(size.conv_height, 1, |_, from, to| {
                let kernel = StemConv {
                    size,
                    planes,
                    weights: &stem.forward,
                    padded: padded.ptr().at(image * size.padded()),
                    rows: (from, to),
                    y: conv0.ptr().at(image * stride + from * size.conv_width * LANES),
                    plane,
                };
                // SAFETY: the buffers have these sizes, and the images and parts write different pixels; so in all
                // steps below.
                unsafe { dispatch(self.level, kernel) }
            });
        });
        (padded, conv0, moments)
    }

    pub(super) fn stem_pool(
        &self,
        conv0: &Buffer,
        norm0: &NormState,
        x: &Buffer,
    ) -> (Buffer, Vec<(f64, f64)>) {
        let (size, planes) = (self.size, self.plan.stem_planes);
        let pixels = size.pixels_out();
        let winners = Buffer::new(self.n * planes * pixels * LANES / 4);
        let stride = self.plan.blocks[0].planes * pixels * LANES;
        let moments = self.images(x.ptr(), stride, planes, pixels, |image, crew| {
            crew.split(size.height_out, 1, |_, from, to| {
                let kernel = StemPool {
                    size,
                    planes,
                    conv: conv0.ptr().at(image * planes * size.conv_pixels() * LANES),
                    conv_plane: size.conv_pixels() * LANES,
                    first: 0,
                    scale: &norm0.scale,
                    shift: &norm0.shift,
                    rows: (from, to),
                    y: x.ptr().at(image * stride),
                    winners: Some(winners.ptr().at(image * planes * pixels * LANES / 4)),
                };
                // SAFETY: every pooled pixel lies in one row, and so do its winners.
                unsafe { dispatch(self.level, kernel) }
            });
        });
        (winners, moments)
    }

    pub(super) fn bottleneck(
        &self,
        i: usize,
        layer: &Layer,
        halo: Halo,
        x: &Buffer,
        norm: &NormState,
        conv: &Weights,
    ) -> (Buffer, Vec<(f64, f64)>) {
        let (pixels, planes) = (halo.height * halo.width, self.plan.mid_planes);
        let stride = planes * pixels * LANES;
        let mid = Buffer::new(self.n * stride);
        let x_stride = self.plan.blocks[i].planes * pixels * LANES;
        let moments = self.images(mid.ptr(), stride, planes, pixels, |image, crew| {
            let kernel = BottleneckImage {
                level: self.level,
                norm: norm.relu(x.ptr().at(image * x_stride), pixels * LANES, layer.planes),
                weights: conv,
                pixels,
                out_planes: planes,
                y: mid.ptr().at(image * stride),
            };
            // SAFETY: each image's planes lie in the buffers.
            unsafe { kernel.run(crew) }
        });
        (mid, moments)
    }

    #[allow(clippy::too_many_arguments)] // One caller; a struct would only repeat the names.
    pub(super) fn grow(
        &self,
        i: usize,
        layer: &Layer,
        halo: Halo,
        mid: &Buffer,
        norm: &NormState,
        conv: &Weights,
        x: &Buffer,
    ) -> Vec<(f64, f64)> {
        let (pixels, planes) = (halo.height * halo.width, self.plan.mid_planes);
        let stride = self.plan.blocks[i].planes * pixels * LANES;
        let y = x.ptr().at(layer.planes * pixels * LANES);
        let made = winograd::made(self.level, halo, self.n, &conv.forward, self.workers);
        self.images(y, stride, self.plan.growth_planes, pixels, |image, crew| {
            let mut haloed = Buffer::new(planes * halo.plane());
            halo.clear(&mut haloed);
            let norm = norm.relu(mid.ptr().at(image * planes * pixels * LANES), pixels * LANES, planes);
            crew.split(halo.height, 1, |_, from, to| {
                // SAFETY: the parts write different rows.
                unsafe { dispatch(self.level, NormHalo { norm, halo, rows: (from, to), y: haloed.ptr() }) }
            });
            let conv = Conv3 {
                level: self.level,
                x: haloed.ptr(),
                halo,
                planes,
                out_planes: self.plan.growth_planes,
                direct: &conv.forward,
                points: winograd::points(self.level, halo, self.n, made.as_ref(), &conv.forward),
            };
            let (scratch, (pieces, align)) = (conv.scratch(crew.parts()), conv.pieces());
            crew.split(pieces, align, |part, from, to| {
                let then = Store { y: y.at(image * stride), plane: pixels * LANES };
                // SAFETY: the parts write different pixels, and have their own scratch.
                unsafe { conv.run(&scratch, part, (from, to), then) }
            });
        })
    }

    pub(super) fn transition(
        &self,
        i: usize,
        halo: Halo,
        x: &Buffer,
        norm: &NormState,
        conv: &Weights,
        y: &Buffer,
    ) -> Vec<(f64, f64)> {
        let (block, next) = (&self.plan.blocks[i], &self.plan.blocks[i + 1]);
        let (pixels, pixels_out) = (halo.height * halo.width, (halo.height / 2) * (halo.width / 2));
        let stride = next.planes * pixels_out * LANES;
        self.images(y.ptr(), stride, next.first_planes, pixels_out, |image, crew| {
            let pooled = Buffer::new((block.planes * pixels_out + MAX_PIXELS) * LANES);
            let x = x.ptr().at(image * block.planes * pixels * LANES);
            crew.split(pixels_out, MAX_PIXELS, |_, from, to| {
                let norm = norm.relu(x, pixels * LANES, block.planes);
                let kernel = Transition {
                    pool: NormPool { norm, halo, y: pooled.ptr() },
                    weights: &conv.forward,
                    out_planes: next.first_planes,
                    range: (from, to),
                    y: y.ptr().at(image * stride),
                };
                // SAFETY: the parts write different pixels, of the average too.
                unsafe { dispatch(self.level, kernel) }
            });
        })
    }

    pub(super) fn pool(&self, x: &Buffer, pixels: usize, norm: &NormState) -> Vec<f32> {
        let block = &self.plan.blocks[self.plan.blocks.len() - 1];
        let features = self.plan.norm5.channels;
        let mut pooled = vec![0.0; self.n * features];
        pooled.par_chunks_exact_mut(features).enumerate().for_each(|(image, pooled)| {
            let y = Buffer::new(block.planes * pixels * LANES);
            let x = x.ptr().at(image * block.planes * pixels * LANES);
            let kernel = NormTo { norm: norm.relu(x, pixels * LANES, block.planes), pixels, y: y.ptr() };
            // SAFETY: the image's planes have these pixels.
            unsafe { dispatch(self.level, kernel) };
            average(&y, pixels, &block.lanes, pooled);
        });
        pooled
    }
}
