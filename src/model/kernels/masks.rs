//! What a forward pass in evaluation mode leaves for the gradient: a bit where ReLU lets it pass.

use super::arch::Plan;
use super::buffer::{Buffer, Ptr};
use super::simd::LANES;
use super::stem::StemSize;

/// What a forward pass leaves for [`Packed::backward`](super::packed::Packed::backward): about 2 MB an image of 224 x 224 on DenseNet-121.
pub(crate) struct EvalState {
    pub(super) size: StemSize,
    pub(super) images: Vec<ImageState>,
}

/// One image's masks: a bit where ReLU lets the gradient pass.
pub(super) struct ImageState {
    pub winners: Buffer,
    /// `[layer][plane][pixel]` of each block; norm1 and norm2 of a layer follow each other, the transition comes last.
    blocks: Vec<(Buffer, Vec<[usize; 2]>, usize)>,
    pub norm5: Buffer,
}

impl ImageState {
    pub(super) fn new(plan: &Plan, size: StemSize) -> ImageState {
        let sizes = size.blocks(plan);
        let pixels = |i: usize| sizes[i].0 * sizes[i].1;
        let blocks = plan.blocks.iter().enumerate().map(|(i, block)| {
            let mut end = 0;
            let mut take = |planes: usize| {
                end += planes * pixels(i);
                end - planes * pixels(i)
            };
            let layers =
                block.layers.iter().map(|layer| [take(layer.planes), take(plan.mid_planes)]).collect();
            let transition = take(if block.transition.is_some() { block.planes } else { 0 });
            (Buffer::new(end), layers, transition)
        });
        let last = plan.blocks.len() - 1;
        ImageState {
            winners: Buffer::new(plan.stem_planes * size.pixels_out() * LANES / 4),
            norm5: Buffer::new(plan.blocks[last].planes * pixels(last)),
            blocks: blocks.collect(),
        }
    }

    /// Masks of norm1 and norm2.
    pub(super) fn layer(&self, block: usize, layer: usize) -> (Ptr, Ptr) {
        let (buffer, layers, _) = &self.blocks[block];
        let [norm1, norm2] = layers[layer];
        (buffer.ptr().at(norm1), buffer.ptr().at(norm2))
    }

    pub(super) fn transition(&self, block: usize) -> Ptr {
        let (buffer, _, transition) = &self.blocks[block];
        buffer.ptr().at(*transition)
    }
}
