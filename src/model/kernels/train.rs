//! Training mode: the forward pass over a batch, layer by layer, keeping what the backward pass needs.

use rayon::prelude::*;

use super::arch::{Arch, Layer, Norm, Plan};
use super::buffer::{Buffer, Ptr};
use super::forward_kernels::{Bottleneck, Conv3, NormPool, NormTo, Transition, average};
use super::pack::{Folded, Weights, spread};
use super::plane::{Halo, Moments, NormRelu, Store};
use super::simd::{Kernel, LANES, Level, MAX_PIXELS, Simd, dispatch};
use super::stem::{StemConv, StemPool, StemSize};
use super::tile::CHUNK;

/// Which statistics the norms use.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NormStatistics<'a> {
    /// Those of the batch: training mode.
    Batch,
    /// The given running statistics, as constants: evaluation mode with weight gradients.
    Running(&'a [f32]),
}

/// A norm's coefficients, a lane.
pub(super) struct NormState {
    pub mean: Vec<f32>,
    /// 1 / standard deviation.
    pub inv: Vec<f32>,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

/// A forward pass with weight gradients: activations, statistics and packed weights.
pub(crate) struct TrainState {
    pub(super) plan: Plan,
    pub(super) level: Level,
    pub(super) frozen: bool,
    pub(super) n: usize,
    pub(super) size: StemSize,
    pub(super) stem: Weights,
    /// `[image][padded]`
    pub(super) padded: Buffer,
    /// The stem's convolution, `[image][plane][pixel][32]`, as all activations below.
    pub(super) conv0: Buffer,
    pub(super) winners: Buffer,
    pub(super) norm0: NormState,
    pub(super) blocks: Vec<BlockState>,
    pub(super) norm5: NormState,
    statistics: Vec<f32>,
}

pub(super) struct BlockState {
    pub halo: Halo,
    pub x: Buffer,
    pub layers: Vec<LayerState>,
    pub transition: Option<(NormState, Weights)>,
}

pub(super) struct LayerState {
    pub norm1: NormState,
    pub conv1: Weights,
    /// conv1's output.
    pub mid: Buffer,
    pub norm2: NormState,
    pub conv2: Weights,
}

/// Sums of a batch's activations, a lane: `[image][sum, squares][lane]`.
struct BatchMoments {
    lanes: usize,
    images: Vec<f64>,
}

impl BatchMoments {
    fn new(n: usize, planes: usize) -> Self {
        BatchMoments { lanes: planes * LANES, images: vec![0.0; n * 2 * planes * LANES] }
    }

    fn each(&mut self) -> impl IndexedParallelIterator<Item = &mut [f64]> {
        // One image a task: no thread is left with many when the others have finished.
        self.images.par_chunks_exact_mut(2 * self.lanes).with_max_len(1)
    }

    /// Mean and biased variance of a lane, images in order.
    fn finish(&self, count: usize) -> Vec<(f64, f64)> {
        let total = |at: usize| self.images.chunks_exact(2 * self.lanes).map(|image| image[at]).sum::<f64>();
        let moments = (0..self.lanes).map(|lane| {
            let mean = total(lane) / count as f64;
            (mean, (total(self.lanes + lane) / count as f64 - mean * mean).max(0.0))
        });
        moments.collect()
    }
}

/// Where the norms find their statistics.
struct NormSource<'a> {
    params: &'a [f32],
    frozen: Option<&'a [f32]>,
    eps: f32,
    /// The batch's statistics, for the running ones.
    statistics: Vec<f32>,
}

impl NormSource<'_> {
    /// A norm over channels in the given lanes with these batch moments of `count` values.
    fn norm(&mut self, norm: &Norm, lanes: &[usize], moments: &[(f64, f64)], count: usize) -> NormState {
        let (mut means, mut invs) = (Vec::new(), Vec::new());
        for (c, &lane) in lanes.iter().enumerate().take(norm.channels) {
            let (mean, var) = match self.frozen {
                Some(stats) => (stats[norm.mean + c], f64::from(stats[norm.var + c])),
                None => {
                    let (mean, var) = moments[lane];
                    let unbiased = if count > 1 { count as f64 / (count - 1) as f64 } else { f64::NAN };
                    self.statistics[norm.mean + c] = mean as f32;
                    self.statistics[norm.var + c] = (var * unbiased) as f32;
                    (mean as f32, var)
                }
            };
            means.push(mean);
            invs.push((1.0 / (var + f64::from(self.eps)).sqrt()) as f32);
        }
        let gamma = &self.params[norm.gamma..][..norm.channels];
        let beta = &self.params[norm.beta..][..norm.channels];
        let scale: Vec<f32> = gamma.iter().zip(&invs).map(|(g, i)| g * i).collect();
        let shift: Vec<f32> = (0..norm.channels).map(|c| beta[c] - means[c] * scale[c]).collect();
        let spread = |values: &[f32]| spread(values, lanes);
        NormState { mean: spread(&means), inv: spread(&invs), scale: spread(&scale), shift: spread(&shift) }
    }
}

impl NormState {
    /// The norm and ReLU of planes at `x`.
    pub(super) fn relu(&self, x: Ptr, plane: usize, planes: usize) -> NormRelu<'_> {
        NormRelu { x, plane, planes, scale: &self.scale, shift: &self.shift, masks: None }
    }
}

/// A norm and ReLU, from dense planes into haloed ones.
pub(super) struct NormHalo<'a> {
    pub norm: NormRelu<'a>,
    pub halo: Halo,
    pub y: Ptr,
}

impl Kernel for NormHalo<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (halo, width) = (self.halo, self.halo.width);
        for row in 0..halo.height {
            let y = self.y.at(halo.lead() + row * halo.row() * LANES);
            // SAFETY: the caller's contract; the row lies in the haloed planes.
            unsafe { self.norm.run::<S>(row * width, (row + 1) * width, y.0, halo.plane()) }
        }
    }
}

struct LayerWeights {
    conv1: Weights,
    conv2: Weights,
}

impl TrainState {
    /// Forward pass of a batch; pooled features and what the backward pass needs.
    ///
    /// # Shapes
    ///
    /// - images: `[n, in_channels, height, width]`, with `[n, height, width]` given as `shape`
    /// - pooled features: `[n, features]`
    ///
    /// # Panics
    ///
    /// If the lengths do not fit the architecture, the batch is empty or the images are too small.
    pub(crate) fn forward(
        arch: &Arch,
        params: &[f32],
        statistics: NormStatistics,
        images: &[f32],
        shape: [usize; 3],
    ) -> (Vec<f32>, TrainState) {
        Self::forward_at(arch, params, statistics, images, shape, Level::current())
    }

    /// [`TrainState::forward`] at a given instruction level.
    ///
    /// # Panics
    ///
    /// As [`TrainState::forward`], and if the machine cannot run the level.
    pub(crate) fn forward_at(
        arch: &Arch,
        params: &[f32],
        statistics: NormStatistics,
        images: &[f32],
        [n, height, width]: [usize; 3],
        level: Level,
    ) -> (Vec<f32>, TrainState) {
        assert!(level.is_available(), "{level:?} is not available on this machine");
        let plan = arch.plan();
        assert_eq!(params.len(), plan.num_parameters, "length of the parameters");
        assert_eq!(
            images.len(),
            n * plan.in_channels * height * width,
            "images for [n, height, width] = {:?}",
            [n, height, width]
        );
        assert!(n > 0, "empty batch");
        assert!(
            arch.supports(height, width),
            "images of {height} x {width} are too small for this architecture"
        );
        let frozen = match statistics {
            NormStatistics::Batch => None,
            NormStatistics::Running(stats) => {
                assert_eq!(stats.len(), plan.num_statistics, "length of the running statistics");
                Some(stats)
            }
        };
        let size = StemSize::new(plan.in_channels, height, width);
        let statistics = frozen.map_or_else(|| vec![0.0; plan.num_statistics], <[f32]>::to_vec);
        let mut source = NormSource { params, frozen, eps: plan.eps, statistics };
        let batch = Batch { plan: &plan, level, n, size, wants_moments: frozen.is_none() };

        let identity = plan.identity();
        let stem = Weights::pack_stem(params, &plan, None);
        let (padded, conv0, moments) = batch.stem_conv(&stem, images);
        let norm0 = source.norm(&plan.norm0, &identity, &moments, n * size.conv_pixels());
        let sizes = size.blocks(&plan);
        let features = |i: usize| Buffer::new(n * plan.blocks[i].planes * sizes[i].0 * sizes[i].1 * LANES);
        let mut x = features(0);
        let (winners, mut moments) = batch.stem_pool(&conv0, &norm0, &x);
        let mut blocks = Vec::new();
        for (i, block) in plan.blocks.iter().enumerate() {
            let halo = Halo { height: sizes[i].0, width: sizes[i].1 };
            let count = n * halo.height * halo.width;
            let pack = |layer: &Layer| LayerWeights {
                conv1: Weights::pack(params, &layer.conv1, &identity, &block.lanes, Folded::default()),
                conv2: Weights::pack(params, &layer.conv2, &identity, &identity, Folded::default()),
            };
            let weights: Vec<LayerWeights> = block.layers.par_iter().map(pack).collect();
            let mut layers = Vec::new();
            for (layer, LayerWeights { conv1, conv2 }) in block.layers.iter().zip(weights) {
                let norm1 = source.norm(&layer.norm1, &block.lanes, &moments, count);
                let (mid, mid_moments) = batch.bottleneck(i, layer, halo, &x, &norm1, &conv1);
                let norm2 = source.norm(&layer.norm2, &identity, &mid_moments, count);
                moments.extend(batch.grow(i, layer, halo, &mid, &norm2, &conv2, &x));
                layers.push(LayerState { norm1, conv1, mid, norm2, conv2 });
            }
            let mut next = None;
            let transition = block.transition.as_ref().map(|transition| {
                let norm = source.norm(&transition.norm, &block.lanes, &moments, count);
                let weights =
                    Weights::pack(params, &transition.conv, &identity, &block.lanes, Folded::default());
                let y = features(i + 1);
                moments = batch.transition(i, halo, &x, &norm, &weights, &y);
                next = Some(y);
                (norm, weights)
            });
            blocks.push(BlockState { halo, x, layers, transition });
            match next {
                Some(y) => x = y,
                None => x = Buffer::new(0),
            }
        }
        let last = plan.blocks.len() - 1;
        let pixels = sizes[last].0 * sizes[last].1;
        let norm5 = source.norm(&plan.norm5, &plan.blocks[last].lanes, &moments, n * pixels);
        let pooled = batch.pool(&blocks[last].x, pixels, &norm5);
        let (frozen, statistics) = (frozen.is_some(), source.statistics);
        let state = TrainState {
            level,
            frozen,
            n,
            size,
            stem,
            padded,
            conv0,
            winners,
            norm0,
            blocks,
            norm5,
            statistics,
            plan,
        };
        (pooled, state)
    }

    /// Mean and unbiased variance of the batch, in the order of [`Arch::statistics`]; the given ones if frozen.
    pub(crate) fn statistics(&self) -> &[f32] {
        &self.statistics
    }
}

/// What every step of the forward pass needs.
struct Batch<'a> {
    plan: &'a Plan,
    level: Level,
    n: usize,
    size: StemSize,
    wants_moments: bool,
}

impl Batch<'_> {
    /// Runs `work(image)` for all images in parallel, and then the moments of the planes that it wrote at
    /// `y + image * image_stride`.
    fn images(
        &self,
        y: Ptr,
        stride: usize,
        planes: usize,
        pixels: usize,
        work: impl Fn(usize) + Sync,
    ) -> Vec<(f64, f64)> {
        let mut moments = BatchMoments::new(self.n, planes);
        moments.each().enumerate().for_each(|(image, moments)| {
            work(image);
            if self.wants_moments {
                let (sum, squares) = moments.split_at_mut(planes * LANES);
                let kernel = Moments { x: y.at(image * stride), plane: pixels * LANES, pixels, sum, squares };
                // SAFETY: `work` wrote these planes.
                unsafe { dispatch(self.level, kernel) }
            }
        });
        if self.wants_moments { moments.finish(self.n * pixels) } else { Vec::new() }
    }

    fn stem_conv(&self, stem: &Weights, images: &[f32]) -> (Buffer, Buffer, Vec<(f64, f64)>) {
        let (size, planes) = (self.size, self.plan.stem_planes);
        let stride = planes * size.conv_pixels() * LANES;
        let conv0 = Buffer::new(self.n * stride);
        let mut padded = Buffer::new(self.n * size.padded());
        let work = |(image, padded): (&[f32], &mut [f32])| size.pad(image, padded);
        images.par_chunks_exact(size.image()).zip(padded.par_chunks_exact_mut(size.padded())).for_each(work);
        let moments = self.images(conv0.ptr(), stride, planes, size.conv_pixels(), |image| {
            let kernel = StemConv {
                size,
                planes,
                weights: &stem.forward,
                padded: padded.ptr().at(image * size.padded()),
                rows: (0, size.conv_height),
                y: conv0.ptr().at(image * stride),
                plane: size.conv_pixels() * LANES,
            };
            // SAFETY: the buffers have these sizes, and the images write different parts; so in all steps below.
            unsafe { dispatch(self.level, kernel) }
        });
        (padded, conv0, moments)
    }

    fn stem_pool(&self, conv0: &Buffer, norm0: &NormState, x: &Buffer) -> (Buffer, Vec<(f64, f64)>) {
        let (size, planes) = (self.size, self.plan.stem_planes);
        let pixels = size.pixels_out();
        let winners = Buffer::new(self.n * planes * pixels * LANES / 4);
        let stride = self.plan.blocks[0].planes * pixels * LANES;
        let moments = self.images(x.ptr(), stride, planes, pixels, |image| {
            let kernel = StemPool {
                size,
                planes,
                conv: conv0.ptr().at(image * planes * size.conv_pixels() * LANES),
                conv_plane: size.conv_pixels() * LANES,
                first: 0,
                scale: &norm0.scale,
                shift: &norm0.shift,
                rows: (0, size.height_out),
                y: x.ptr().at(image * stride),
                winners: Some(winners.ptr().at(image * planes * pixels * LANES / 4)),
            };
            // SAFETY: as above.
            unsafe { dispatch(self.level, kernel) }
        });
        (winners, moments)
    }

    fn bottleneck(
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
        let moments = self.images(mid.ptr(), stride, planes, pixels, |image| {
            let scratch = Buffer::new((layer.planes * (CHUNK + 1) + MAX_PIXELS) * LANES);
            let kernel = Bottleneck {
                norm: norm.relu(x.ptr().at(image * x_stride), pixels * LANES, layer.planes),
                weights: &conv.forward,
                scratch: scratch.ptr(),
                out_planes: planes,
                range: (0, pixels),
                then: Store { y: mid.ptr().at(image * stride), plane: pixels * LANES },
            };
            // SAFETY: as above.
            unsafe { dispatch(self.level, kernel) }
        });
        (mid, moments)
    }

    #[allow(clippy::too_many_arguments)] // One caller; a struct would only repeat the names.
    fn grow(
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
        self.images(y, stride, self.plan.growth_planes, pixels, |image| {
            let mut haloed = Buffer::new(planes * halo.plane());
            halo.clear(&mut haloed);
            let norm = norm.relu(mid.ptr().at(image * planes * pixels * LANES), pixels * LANES, planes);
            let kernel = Conv3 {
                x: haloed.ptr(),
                halo,
                planes,
                weights: &conv.forward,
                out_planes: self.plan.growth_planes,
                range: (0, pixels),
                then: Store { y: y.at(image * stride), plane: pixels * LANES },
            };
            // SAFETY: as above.
            unsafe {
                dispatch(self.level, NormHalo { norm, halo, y: haloed.ptr() });
                dispatch(self.level, kernel);
            }
        })
    }

    fn transition(
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
        self.images(y.ptr(), stride, next.first_planes, pixels_out, |image| {
            let pooled = Buffer::new((block.planes * pixels_out + MAX_PIXELS) * LANES);
            let x = x.ptr().at(image * block.planes * pixels * LANES);
            let kernel = Transition {
                pool: NormPool { norm: norm.relu(x, pixels * LANES, block.planes), halo, y: pooled.ptr() },
                weights: &conv.forward,
                out_planes: next.first_planes,
                range: (0, pixels_out),
                y: y.ptr().at(image * stride),
            };
            // SAFETY: as above.
            unsafe { dispatch(self.level, kernel) }
        })
    }

    fn pool(&self, x: &Buffer, pixels: usize, norm: &NormState) -> Vec<f32> {
        let block = &self.plan.blocks[self.plan.blocks.len() - 1];
        let features = self.plan.norm5.channels;
        let mut pooled = vec![0.0; self.n * features];
        pooled.par_chunks_exact_mut(features).enumerate().for_each(|(image, pooled)| {
            let y = Buffer::new(block.planes * pixels * LANES);
            let x = x.ptr().at(image * block.planes * pixels * LANES);
            let kernel = NormTo { norm: norm.relu(x, pixels * LANES, block.planes), pixels, y: y.ptr() };
            // SAFETY: as above.
            unsafe { dispatch(self.level, kernel) };
            average(&y, pixels, &block.lanes, pooled);
        });
        pooled
    }
}
