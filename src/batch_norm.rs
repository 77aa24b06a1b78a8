//! Batch norm as PyTorch computes it, on burn's module.

use burn::nn::BatchNorm;
use burn::tensor::Tensor;
use burn::tensor::module::{batch_norm, batch_norm_train};

/// Applies batch norm, with batch statistics on an autodiff device while `training` is on.
///
/// burn's own forward pass feeds the running variance with the biased variance; PyTorch feeds it with the
/// unbiased one, and its checkpoints are compared with ours.
///
/// # Shapes
///
/// - `input`, output: `[batch, channels, height, width]`
pub(crate) fn forward(norm: &BatchNorm, input: Tensor<4>) -> Tensor<4> {
    let (gamma, beta) = (norm.gamma.val(), norm.beta.val());
    if !is_training(norm, &input) {
        let (mean, variance) = running(norm);
        let device = input.device();
        return batch_norm(
            input,
            gamma,
            beta,
            mean.to_device(&device),
            variance.to_device(&device),
            norm.epsilon,
        );
    }
    let [batch, _, height, width] = input.dims();
    let count = (batch * height * width) as f64;
    let result = batch_norm_train(input, gamma, beta, norm.epsilon);
    update(norm, result.mean, result.variance * (count / (count - 1.0).max(1.0)));
    result.output
}

/// Whether [`forward`] uses batch statistics for this input.
fn is_training(norm: &BatchNorm, input: &Tensor<4>) -> bool {
    input.device().is_autodiff() && norm.training.is_enabled()
}

/// Running mean and variance with every update applied.
pub(crate) fn running(norm: &BatchNorm) -> (Tensor<1>, Tensor<1>) {
    (norm.running_mean.value_sync(), norm.running_var.value_sync())
}

/// Moves the running statistics towards a batch's mean and unbiased variance.
fn update(norm: &BatchNorm, mean: Tensor<1>, variance: Tensor<1>) {
    let (old_mean, old_variance) = running(norm);
    let moved = |old: Tensor<1>, new: Tensor<1>| {
        let new = new.to_device(&old.device());
        (old * (1.0 - norm.momentum) + new * norm.momentum).detach()
    };
    norm.running_mean.update(moved(old_mean, mean));
    norm.running_var.update(moved(old_variance, variance));
}
