//! What stands between two dense blocks.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::batch_norm;
use super::init::Init;

/// Batch norm, ReLU, 1x1 convolution and 2x2 average pooling: half the channels, half the size.
#[derive(Module, Debug)]
pub struct Transition {
    /// Batch norm of the block's output.
    pub norm: BatchNorm,
    /// 1x1 convolution to half the channels.
    pub conv: Conv2d,
    /// Average of 2x2 pixels; an odd last row or column is dropped.
    pub pool: AvgPool2d,
}

impl Transition {
    pub(crate) fn new(channels: usize, init: &mut Init) -> Self {
        Self {
            norm: BatchNormConfig::new(channels).init(init.device()),
            conv: init.conv([channels, channels / 2], 1, 1, 0),
            pool: AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
        }
    }

    /// Half the channels at half the size.
    ///
    /// # Shapes
    ///
    /// - `input`: `[batch, channels, height, width]`
    /// - output: `[batch, channels / 2, height / 2, width / 2]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.pool.forward(self.conv.forward(relu(batch_norm::forward(&self.norm, input))))
    }
}
