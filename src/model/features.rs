//! The convolutional part of a DenseNet.

use burn::module::Module;
use burn::nn::BatchNorm;
use burn::nn::conv::Conv2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::batch_norm;
use super::dense_block::DenseBlock;
use super::transition::Transition;

/// The convolutional part of a [`DenseNet`](super::DenseNet).
#[derive(Module, Debug)]
pub struct Features {
    /// 7x7 convolution with stride 2.
    pub conv0: Conv2d,
    /// Batch norm of the first convolution.
    pub norm0: BatchNorm,
    /// 3x3 maximum with stride 2.
    pub pool0: MaxPool2d,
    /// The dense blocks, `denseblock1` first.
    pub denseblocks: Vec<DenseBlock>,
    /// What stands between them, `transition1` first.
    pub transitions: Vec<Transition>,
    /// The last batch norm.
    pub norm5: BatchNorm,
}

impl Features {
    /// Features before the last ReLU and the pooling.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, in_channels, height, width]`
    /// - output: `[batch, features, height / 32, width / 32]` for four blocks
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let hidden = relu(batch_norm::forward(&self.norm0, self.conv0.forward(images)));
        let mut hidden = self.pool0.forward(hidden);
        for (index, block) in self.denseblocks.iter().enumerate() {
            hidden = block.forward(hidden);
            if let Some(transition) = self.transitions.get(index) {
                hidden = transition.forward(hidden);
            }
        }
        batch_norm::forward(&self.norm5, hidden)
    }
}
