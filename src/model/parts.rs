//! A network's convolutions and batch norms, one after the other.

use burn::nn::BatchNorm;
use burn::nn::conv::Conv2d;

use super::features::Features;

/// A convolution or batch norm of a network.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    Conv(&'a Conv2d),
    Norm(&'a BatchNorm),
}

impl Features {
    /// Convolutions and norms in the order of torchvision's `named_parameters()`.
    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        use Part::{Conv, Norm};
        let mut parts = vec![Conv(&self.conv0), Norm(&self.norm0)];
        for (index, block) in self.denseblocks.iter().enumerate() {
            for layer in &block.layers {
                parts.extend([
                    Norm(&layer.norm1),
                    Conv(&layer.conv1),
                    Norm(&layer.norm2),
                    Conv(&layer.conv2),
                ]);
            }
            if let Some(transition) = self.transitions.get(index) {
                parts.extend([Norm(&transition.norm), Conv(&transition.conv)]);
            }
        }
        parts.push(Norm(&self.norm5));
        parts
    }
}
