//! The classifier composed of operations that every backend computes in its tensors' precision.

use burn::nn::Linear;
use burn::tensor::Tensor;

/// What [`Linear::forward`] gives. Between a few classes and rows it avoids the matrix product, which on NVIDIA GPUs is
/// one of 10-bit mantissas (TF32), as burn's kernels choose for single precision.
///
/// # Shapes
///
/// - `rows`: `[batch, inputs]`
/// - output: `[batch, outputs]`
pub(super) fn forward(layer: &Linear, rows: Tensor<2>) -> Tensor<2> {
    /// Products that are worth their memory (64 MB).
    const MOST: usize = 1 << 24;
    let [inputs, outputs] = layer.weight.dims();
    if rows.dims()[0] * inputs * outputs > MOST {
        return layer.forward(rows);
    }
    let products = rows.unsqueeze_dim::<3>(2) * layer.weight.val().unsqueeze();
    let sums = products.sum_dim(1).squeeze_dim(1);
    match &layer.bias {
        Some(bias) => sums + bias.val().unsqueeze(),
        None => sums,
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::{Device, Distribution, Tolerance};

    use super::*;

    #[test]
    fn few_and_many_classes_are_burns_linear_layer() {
        let device = Device::default();
        for (batch, outputs, bias) in [(3, 2, true), (1, 1, false), (260, 600, true)] {
            let layer = LinearConfig::new(128, outputs).with_bias(bias).init(&device);
            let rows = Tensor::random([batch, 128], Distribution::Normal(0.0, 1.0), &device);
            let expected = layer.forward(rows.clone()).into_data();
            forward(&layer, rows).into_data().assert_approx_eq(&expected, Tolerance::<f32>::default());
        }
    }
}
