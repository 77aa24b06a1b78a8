//! When the kernels stand in for burn's operations, and with what.

use std::sync::{Arc, OnceLock};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, Flex};
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, Linear, PaddingConfig2d};
use burn::tensor::{DType, Tensor, TensorData};

use super::batch_norm;
use super::features::Features;
use super::kernels::{self, Arch, Level, Packed};
use super::operation::{Call, PooledFeatures, values};
use super::packed_cache::PackedCache;
use super::parts::Part;
use super::precision::{Precision, PrecisionError};
use crate::rows;

/// The pooled features by the kernels; none where the network is to be composed of burn's operations.
///
/// The kernels take over on the CPU backend in single precision, unless dropout is active, norms differ in
/// their mode, or somebody gave a part of the network another form than [`DenseNetConfig`](super::DenseNetConfig).
///
/// `precision` is that of evaluation.
pub(super) fn embed(
    features: &Features,
    cache: &PackedCache,
    precision: Precision,
    images: &Tensor<4>,
) -> Option<Tensor<2>> {
    let [batch, _, height, width] = images.dims();
    if !enabled() || batch == 0 || primitive(images).is_none() {
        return None;
    }
    if let Some(packed) = cache.of_sealed(precision) {
        return Some(evaluated(images, packed));
    }
    let autodiff = images.device().is_autodiff() || features.conv0.weight.val().device().is_autodiff();
    let training = trains(features, autodiff)?;
    if !training && let Weights::Constant(weights) = weights(features)? {
        return Some(evaluated(images, packed(features, weights, cache, precision)?));
    }
    let arch = arch(features)?;
    // The variance of a single value has no unbiased estimate.
    if training && batch * last_pixels(&arch, height, width) == 1 {
        return None;
    }
    let statistics = match training {
        true => None,
        false => Some(primitives(running(features))?.iter().flat_map(owned).collect()),
    };
    primitives(parameters(features))?;
    let flat = Tensor::cat(parameters(features), 0);
    let call = Arc::new(Call { arch, running: statistics, batch: OnceLock::new() });
    let pooled =
        Dispatch::trained_features(images.clone().into_dispatch(), flat.into_dispatch(), call.clone());
    if let Some(statistics) = call.batch.get() {
        update_running(features, &call.arch, statistics);
    }
    Some(Tensor::from_dispatch(pooled))
}

fn evaluated(images: &Tensor<4>, packed: Arc<Packed>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::evaluated_features(images.clone().into_dispatch(), packed))
}

/// The class scores by the kernels; none where the classifier is to be burn's.
pub(super) fn classify(classifier: &Linear, pooled: &Tensor<2>) -> Option<Tensor<2>> {
    let (weight, bias) = (classifier.weight.val(), classifier.bias.as_ref()?.val());
    if !enabled() || pooled.dims()[0] == 0 {
        return None;
    }
    primitive(pooled).and(primitive(&weight)).and(primitive(&bias))?;
    let [pooled, weight, bias] =
        [pooled.clone().into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
    Some(Tensor::from_dispatch(Dispatch::rowwise_linear(pooled, weight, bias)))
}

/// Whether the kernels can compute this network in a precision, here and where it is.
pub(super) fn supports(features: &Features, precision: Precision) -> Result<(), PrecisionError> {
    let weight = features.conv0.weight.val();
    let found = match precision {
        Precision::Float32 => return Ok(()),
        Precision::Bfloat16 if !enabled() => "HISTOGUARD_KERNELS=off".to_string(),
        Precision::Bfloat16 if primitive(&weight).is_none() => format!("a network on {:?}", weight.device()),
        Precision::Bfloat16 => return level(precision).map(|_| ()),
    };
    Err(PrecisionError { expected: "the crate's CPU kernels", found })
}

/// The kernels' level for a precision.
fn level(precision: Precision) -> Result<Level, PrecisionError> {
    match precision {
        Precision::Float32 => Ok(Level::current()),
        Precision::Bfloat16 => Level::current_bf16().map_err(|found| PrecisionError {
            expected: "a processor with AMX-BF16 (on Linux) or AVX512-BF16",
            found,
        }),
    }
}

/// Frees the working memory that the CPU kernels keep for their next call: about 500 MB after a training step with
/// 32 images of 224x224 pixels.
pub fn release_memory() {
    kernels::release_memory();
}

/// `HISTOGUARD_KERNELS=off` composes every network, for comparison.
fn enabled() -> bool {
    // WebAssembly without vectors: burn's operations take half of the time.
    if cfg!(all(target_arch = "wasm32", not(target_feature = "simd128"))) {
        return false;
    }
    static ENABLED: OnceLock<bool> = OnceLock::new();
    *ENABLED.get_or_init(|| std::env::var_os("HISTOGUARD_KERNELS").is_none_or(|value| value != "off"))
}

/// Whether the norms take their statistics from the batch; none where that differs among them, or dropout is active.
fn trains(features: &Features, autodiff: bool) -> Option<bool> {
    let flags = |norm: &BatchNorm| norm.training.is_enabled();
    if !autodiff || !norms(features).any(flags) {
        return Some(false);
    }
    let dropout = features
        .denseblocks
        .iter()
        .flat_map(|block| &block.layers)
        .any(|layer| layer.dropout.prob > 0.0 && layer.dropout.training.is_enabled());
    (norms(features).all(flags) && !dropout).then_some(true)
}

enum Weights {
    /// In the kernels' order.
    Constant(Vec<FloatTensor<Flex>>),
    /// Some have gradients.
    Tracked,
}

/// The weights, if all are where the kernels compute. Every forward pass asks for them: one copy of each tensor's
/// description, not more.
fn weights(features: &Features) -> Option<Weights> {
    fn take<const D: usize>(tensor: Tensor<D>, tracked: &mut bool) -> Option<FloatTensor<Flex>> {
        *tracked |= tensor.is_tracked();
        into_primitive(tensor)
    }
    let (mut weights, mut tracked) = (Vec::new(), false);
    for part in features.parts() {
        match part {
            Part::Conv(conv) => weights.push(take(conv.weight.val(), &mut tracked)?),
            Part::Norm(norm) => {
                weights.push(take(norm.gamma.val(), &mut tracked)?);
                weights.push(take(norm.beta.val(), &mut tracked)?);
            }
        }
    }
    Some(if tracked { Weights::Tracked } else { Weights::Constant(weights) })
}

/// The network's weights as the kernels take them.
fn packed(
    features: &Features,
    weights: Vec<FloatTensor<Flex>>,
    cache: &PackedCache,
    precision: Precision,
) -> Option<Arc<Packed>> {
    let mut key = weights;
    let split = key.len();
    key.extend(primitives(running(features))?);
    cache.get(precision, key, |key| {
        let arch = arch(features)?;
        let [parameters, running] = [&key[..split], &key[split..]]
            .map(|tensors| tensors.iter().flat_map(owned).collect::<Vec<f32>>());
        Some(Packed::new(&arch, &parameters, &running, level(precision).ok()?))
    })
}

/// The kernels' description of the network, if it has the form that they compute.
fn arch(features: &Features) -> Option<Arch> {
    let layer = features.denseblocks.first()?.layers.first()?;
    let [growth_rate, bottleneck, ..] = layer.conv2.weight.dims();
    let [num_init_features, in_channels, ..] = features.conv0.weight.dims();
    let arch = Arch {
        growth_rate,
        block_config: features.denseblocks.iter().map(|block| block.layers.len()).collect(),
        num_init_features,
        bn_size: bottleneck / growth_rate,
        in_channels,
        bn_eps: features.norm0.epsilon as f32,
    };
    if arch.block_config.contains(&0) || features.transitions.len() + 1 != arch.block_config.len() {
        return None;
    }
    let mut shapes = arch.parameters().into_iter().map(|slot| slot.shape);
    let mut fits = |part| match part {
        Part::Conv(conv) => is_plain(conv) && shapes.next() == Some(conv.weight.shape().to_vec()),
        Part::Norm(norm) => {
            let shape = Some(norm.gamma.shape().to_vec());
            norm.epsilon == features.norm0.epsilon && shapes.next() == shape && shapes.next() == shape
        }
    };
    features.parts().into_iter().all(&mut fits).then_some(arch)
}

/// Whether a convolution has the stride and the padding of its kernel size in a DenseNet.
fn is_plain(conv: &Conv2d) -> bool {
    let side = conv.kernel_size[0];
    let padding = side / 2;
    conv.bias.is_none()
        && conv.groups == 1
        && conv.dilation == [1, 1]
        && conv.stride == if side == 7 { [2, 2] } else { [1, 1] }
        && conv.padding == PaddingConfig2d::Explicit(padding, padding, padding, padding)
}

fn last_pixels(arch: &Arch, height: usize, width: usize) -> usize {
    let side = |side: usize| side.div_ceil(2).div_ceil(2) >> (arch.block_config.len() - 1);
    side(height) * side(width)
}

fn norms(features: &Features) -> impl Iterator<Item = &BatchNorm> {
    features.parts().into_iter().filter_map(|part| match part {
        Part::Norm(norm) => Some(norm),
        Part::Conv(_) => None,
    })
}

/// Every parameter but the classifier's, flat, in the kernels' order.
fn parameters(features: &Features) -> Vec<Tensor<1>> {
    let mut tensors = Vec::new();
    for part in features.parts() {
        match part {
            Part::Conv(conv) => tensors.push(conv.weight.val().reshape([-1])),
            Part::Norm(norm) => tensors.extend([norm.gamma.val(), norm.beta.val()]),
        }
    }
    tensors
}

/// Running mean and variance of every norm, in the kernels' order.
fn running(features: &Features) -> Vec<Tensor<1>> {
    norms(features).map(batch_norm::running).flat_map(|(mean, variance)| [mean, variance]).collect()
}

/// Moves every norm's running statistics towards those of a batch, which come in the kernels' order, as
/// [`batch_norm`] does.
fn update_running(features: &Features, arch: &Arch, batch: &[f32]) {
    let slots = arch.statistics();
    for (norm, slots) in norms(features).zip(slots.chunks_exact(2)) {
        let (rest, share) = ((1.0 - norm.momentum) as f32, norm.momentum as f32);
        for (statistic, slot) in [&norm.running_mean, &norm.running_var].into_iter().zip(slots) {
            let (old, new) = (statistic.value_sync(), &batch[slot.offset..][..slot.shape[0]]);
            let device = (&old.device(), old.dtype());
            let moved =
                rows::values(old).iter().zip(new).map(|(old, new)| old * rest + new * share).collect();
            statistic.update(Tensor::from_data(TensorData::new::<f32, _>(moved, [new.len()]), device));
        }
    }
}

/// The CPU backend's tensor, if this is one in single precision.
fn primitive<const D: usize>(tensor: &Tensor<D>) -> Option<FloatTensor<Flex>> {
    into_primitive(tensor.clone())
}

fn into_primitive<const D: usize>(tensor: Tensor<D>) -> Option<FloatTensor<Flex>> {
    let plain = tensor.without_autodiff();
    (plain.dtype() == DType::F32).then(|| plain.try_into_primitive::<Flex>().ok()).flatten()
}

fn primitives(tensors: Vec<Tensor<1>>) -> Option<Vec<FloatTensor<Flex>>> {
    tensors.into_iter().map(into_primitive).collect()
}

fn owned(tensor: &FloatTensor<Flex>) -> Vec<f32> {
    values(&tensor.to_contiguous()).to_vec()
}
