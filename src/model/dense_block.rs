//! Layers that each see the output of all layers before them.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::batch_norm;
use super::init::Init;

/// A bottleneck layer: batch norm, ReLU, 1x1 convolution, batch norm, ReLU, 3x3 convolution, dropout.
#[derive(Module, Debug)]
pub struct DenseLayer {
    /// Batch norm of the layer's inputs.
    pub norm1: BatchNorm,
    /// 1x1 convolution to the bottleneck.
    pub conv1: Conv2d,
    /// Batch norm of the bottleneck.
    pub norm2: BatchNorm,
    /// 3x3 convolution to the new channels.
    pub conv2: Conv2d,
    /// Dropout of the new channels, in training only.
    pub dropout: Dropout,
}

impl DenseLayer {
    pub(crate) fn new(
        channels: usize,
        bottleneck: usize,
        growth: usize,
        drop_rate: f64,
        init: &mut Init,
    ) -> Self {
        Self {
            norm1: BatchNormConfig::new(channels).init(init.device()),
            conv1: init.conv([channels, bottleneck], 1, 1, 0),
            norm2: BatchNormConfig::new(bottleneck).init(init.device()),
            conv2: init.conv([bottleneck, growth], 3, 1, 1),
            dropout: DropoutConfig::new(drop_rate).init(),
        }
    }

    /// The layer's new channels.
    ///
    /// # Shapes
    ///
    /// - `input`: `[batch, channels, height, width]`
    /// - output: `[batch, growth_rate, height, width]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let hidden = self.conv1.forward(relu(batch_norm::forward(&self.norm1, input)));
        let new = self.conv2.forward(relu(batch_norm::forward(&self.norm2, hidden)));
        self.dropout.forward(new)
    }
}

/// Dense layers of which each adds its channels to those before it.
#[derive(Module, Debug)]
pub struct DenseBlock {
    /// The layers, `denselayer1` first.
    pub layers: Vec<DenseLayer>,
}

impl DenseBlock {
    /// Input and new channels, concatenated.
    ///
    /// # Shapes
    ///
    /// - `input`: `[batch, channels, height, width]`
    /// - output: `[batch, channels + layers * growth_rate, height, width]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.layers.iter().fold(input, |channels, layer| {
            let new = layer.forward(channels.clone());
            Tensor::cat(vec![channels, new], 1)
        })
    }
}
