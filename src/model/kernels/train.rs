//! Training mode: the forward pass over a batch, layer by layer, keeping what the backward pass needs.

use rayon::prelude::*;

use super::arch::{Arch, Conv, Plan};
use super::buffer::Buffer;
use super::pack::{Folded, Weights};
use super::plane::Halo;
use super::simd::{LANES, Level};
use super::stem::StemSize;
use super::train_batch::Batch;
use super::train_norm::{NormSource, NormState};
use super::workers::Workers;

/// Which statistics the norms use.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NormStatistics<'a> {
    /// Those of the batch: training mode.
    Batch,
    /// The given running statistics, as constants: evaluation mode with weight gradients.
    Running(&'a [f32]),
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
    /// conv1's output, if it is kept.
    pub mid: Option<Buffer>,
    pub norm2: NormState,
    pub conv2: Weights,
}

/// All packed weights of a pass.
struct BatchWeights {
    stem: Weights,
    blocks: Vec<(Vec<LayerWeights>, Option<Weights>)>,
}

struct LayerWeights {
    conv1: Weights,
    conv2: Weights,
}

impl BatchWeights {
    fn pack(plan: &Plan, params: &[f32]) -> Self {
        let identity = plan.identity();
        let plain =
            |conv: &Conv, lanes: &[usize]| Weights::pack(params, conv, &identity, lanes, Folded::default());
        let blocks = plan.blocks.par_iter().map(|block| {
            let layers = block.layers.par_iter().map(|layer| LayerWeights {
                conv1: plain(&layer.conv1, &block.lanes),
                conv2: plain(&layer.conv2, &identity),
            });
            let transition = block.transition.as_ref().map(|t| plain(&t.conv, &block.lanes));
            (layers.collect(), transition)
        });
        BatchWeights { stem: Weights::pack_stem(params, plan, None), blocks: blocks.collect() }
    }
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
        let source = NormSource { params, frozen, eps: plan.eps, statistics };
        // Before the workers are at work: packing is parallel by itself.
        let weights = BatchWeights::pack(&plan, params);
        Workers::gather(n, |workers| {
            let batch = Batch { plan: &plan, level, workers, n, size, wants_moments: frozen.is_none() };
            batch.forward(weights, source, images)
        })
    }

    /// Keeps no bottleneck, as a batch too large for them does.
    #[cfg(test)]
    pub(super) fn forget_bottlenecks(&mut self) {
        self.blocks.iter_mut().flat_map(|block| &mut block.layers).for_each(|layer| layer.mid = None);
    }

    /// Mean and unbiased variance of the batch, in the order of [`Arch::statistics`]; the given ones if frozen.
    pub(crate) fn statistics(&self) -> &[f32] {
        &self.statistics
    }
}

impl Batch<'_> {
    fn forward(
        &self,
        weights: BatchWeights,
        mut source: NormSource,
        images: &[f32],
    ) -> (Vec<f32>, TrainState) {
        let &Batch { plan, level, n, size, .. } = self;
        let identity = plan.identity();
        let (padded, conv0, moments) = self.stem_conv(&weights.stem, images);
        let norm0 = source.norm(&plan.norm0, &identity, &moments, n * size.conv_pixels());
        let sizes = size.blocks(plan);
        let features = |i: usize| Buffer::new(n * plan.blocks[i].planes * sizes[i].0 * sizes[i].1 * LANES);
        let mut x = features(0);
        let (winners, mut moments) = self.stem_pool(&conv0, &norm0, &x);
        let mut blocks = Vec::new();
        let kept = kept(plan, &sizes, n);
        for (i, (block, (weights, transition))) in plan.blocks.iter().zip(weights.blocks).enumerate() {
            let halo = Halo { height: sizes[i].0, width: sizes[i].1 };
            let count = n * halo.height * halo.width;
            let mut layers = Vec::new();
            for (layer, LayerWeights { conv1, conv2 }) in block.layers.iter().zip(weights) {
                let norm1 = source.norm(&layer.norm1, &block.lanes, &moments, count);
                let (mid, mid_moments) = self.bottleneck(i, layer, halo, &x, &norm1, &conv1);
                let norm2 = source.norm(&layer.norm2, &identity, &mid_moments, count);
                moments.extend(self.grow(i, layer, halo, &mid, &norm2, &conv2, &x));
                layers.push(LayerState { norm1, conv1, mid: kept[i].then_some(mid), norm2, conv2 });
            }
            let mut next = Buffer::new(0);
            let transition = block.transition.as_ref().zip(transition).map(|(transition, weights)| {
                let norm = source.norm(&transition.norm, &block.lanes, &moments, count);
                next = features(i + 1);
                moments = self.transition(i, halo, &x, &norm, &weights, &next);
                (norm, weights)
            });
            blocks.push(BlockState { halo, x: std::mem::replace(&mut x, next), layers, transition });
        }
        let last = plan.blocks.len() - 1;
        let pixels = sizes[last].0 * sizes[last].1;
        let norm5 = source.norm(&plan.norm5, &plan.blocks[last].lanes, &moments, n * pixels);
        let pooled = self.pool(&blocks[last].x, pixels, &norm5);
        let state = TrainState {
            plan: plan.clone(),
            level,
            frozen: source.frozen.is_some(),
            n,
            size,
            stem: weights.stem,
            padded,
            conv0,
            winners,
            norm0,
            blocks,
            norm5,
            statistics: source.statistics,
        };
        (pooled, state)
    }
}

/// Which blocks keep their bottlenecks for the backward pass. Where they take too much memory, the first ones, with the
/// largest planes and the fewest channels to compute them from, are computed again.
fn kept(plan: &Plan, sizes: &[(usize, usize)], n: usize) -> Vec<bool> {
    /// Floats (150 MB) that a batch may keep: all of 8 images of 224x224 in DenseNet-121.
    const MOST: usize = 9 << 22;
    let floats =
        |i: usize| n * plan.blocks[i].layers.len() * plan.mid_planes * sizes[i].0 * sizes[i].1 * LANES;
    let mut total: usize = (0..sizes.len()).map(floats).sum();
    let keep = (0..sizes.len()).map(|i| {
        let keep = total <= MOST;
        total -= floats(i);
        keep
    });
    keep.collect()
}
