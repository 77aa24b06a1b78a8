//! The classifier composed of burn's operations.

use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

/// What [`Linear::forward`] gives. On a GPU, between a few classes and rows, without the matrix product, which on NVIDIA's
/// is one of 10-bit mantissas (TF32), as burn's kernels choose for single precision.
///
/// # Shapes
///
/// - `rows`: `[batch, inputs]`
/// - output: `[batch, outputs]`
pub(super) fn forward(layer: &Linear, rows: Tensor<2>) -> Tensor<2> {
    /// Products that are worth their memory (64 MB).
    const MOST: usize = 1 << 24;
    let [inputs, outputs] = layer.weight.dims();
    match is_gpu(&rows.device()) && rows.dims()[0] * inputs * outputs <= MOST {
        true => products(layer, rows),
        false => layer.forward(rows),
    }
}

fn products(layer: &Linear, rows: Tensor<2>) -> Tensor<2> {
    let products = rows.unsqueeze_dim::<3>(2) * layer.weight.val().unsqueeze();
    let sums = products.sum_dim(1).squeeze_dim(1);
    match &layer.bias {
        Some(bias) => sums + bias.val().unsqueeze(),
        None => sums,
    }
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn is_gpu(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), burn::backend::DispatchDevice::Cube(_))
}

#[cfg(not(any(feature = "cuda", feature = "wgpu")))]
fn is_gpu(_: &Device) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::{Distribution, Tolerance};

    use super::*;

    #[test]
    fn sums_of_products_are_burns_linear_layer() {
        let device = Device::default();
        for (batch, outputs, bias) in [(3, 2, true), (1, 1, false), (26, 60, true)] {
            let layer = LinearConfig::new(128, outputs).with_bias(bias).init(&device);
            let rows = Tensor::random([batch, 128], Distribution::Normal(0.0, 1.0), &device);
            let expected = layer.forward(rows.clone()).into_data();
            products(&layer, rows).into_data().assert_approx_eq(&expected, Tolerance::<f32>::default());
        }
    }
}
