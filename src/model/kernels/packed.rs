//! A network's weights in the form of the evaluation kernels.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::arch::{Arch, Layer, Norm, Plan};
use super::buffer::Buffer;
use super::pack::{Affine, Folded, Weights, running_affine};
use super::plane::Halo;
use super::simd::Level;
use super::winograd::{self, Points};

/// A network's weights with its running statistics folded in, packed for the kernels.
///
/// Made once for a network in evaluation mode and used by any number of threads.
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
    pub conv2: Conv2,
}

/// Weights of a 3x3 convolution. Those for Winograd's algorithm are four times as many, and made for the first image whose
/// size wants them.
pub(super) struct Conv2 {
    pub direct: Weights,
    forward: OnceLock<Buffer>,
    backward: OnceLock<Buffer>,
}

impl Conv2 {
    fn new(direct: Weights) -> Self {
        Conv2 { direct, forward: OnceLock::new(), backward: OnceLock::new() }
    }

    pub(super) fn forward(&self, level: Level, halo: Halo) -> Points<'_> {
        points(&self.forward, &self.direct.forward, level, halo)
    }

    pub(super) fn backward(&self, level: Level, halo: Halo) -> Points<'_> {
        points(&self.backward, &self.direct.backward, level, halo)
    }
}

fn points<'a>(made: &'a OnceLock<Buffer>, packed: &'a Buffer, level: Level, halo: Halo) -> Points<'a> {
    if winograd::few(level, halo) {
        return Points::Packed(packed);
    }
    Points::Made(made.get_or_init(|| winograd::transform(level, packed)))
}

impl Packed {
    /// Packs flat parameters and running statistics, in the orders of [`Arch::parameters`] and [`Arch::statistics`], for an
    /// instruction level.
    ///
    /// # Panics
    ///
    /// If a vector's length is not the architecture's, or the machine cannot run the level.
    pub(crate) fn new(arch: &Arch, params: &[f32], stats: &[f32], level: Level) -> Packed {
        assert!(level.is_available(), "{level:?} is not available on this machine");
        let plan = arch.plan();
        assert_eq!(params.len(), plan.num_parameters, "length of the parameters");
        assert_eq!(stats.len(), plan.num_statistics, "length of the running statistics");
        let affine = |norm: &Norm| running_affine(norm, params, stats, plan.eps);
        let identity = plan.identity();
        let blocks = plan.blocks.iter().map(|block| {
            let pack_layer = |layer: &Layer| {
                let (norm1, norm2) = (affine(&layer.norm1), affine(&layer.norm2));
                let folded = Folded { out: Some(&norm2.scale), inp: Some(&norm1.scale) };
                PackedLayer {
                    conv1: Weights::pack(params, &layer.conv1, &identity, &block.lanes, folded).at(level),
                    conv2: Conv2::new(
                        Weights::pack(params, &layer.conv2, &identity, &identity, Folded::default())
                            .at(level.spatial()),
                    ),
                    norm1: norm1.spread(&block.lanes),
                    norm2: norm2.spread(&identity),
                }
            };
            let transition = block.transition.as_ref().map(|transition| {
                let norm = affine(&transition.norm);
                let folded = Folded { out: None, inp: Some(&norm.scale) };
                let weights = Weights::pack(params, &transition.conv, &identity, &block.lanes, folded);
                (norm.spread(&block.lanes), weights.at(level))
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
}
