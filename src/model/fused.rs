//! When the kernels stand in for burn's operations, and with what.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, Flex};
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, PaddingConfig2d};
use burn::tensor::{DType, Tensor, TensorData};

use super::kernels::{self, Arch, Packed};
use super::operation::{Call, PooledFeatures, values};
use super::parts::Part;
use super::{DenseNet, Features, batch_norm};

/// The pooled features by the kernels; none where the network is to be composed of burn's operations.
///
/// The kernels take over on the CPU backend in single precision, unless dropout is active, norms differ in
/// their mode, or somebody gave a part of the network another form than [`DenseNetConfig`](super::DenseNetConfig).
pub(super) fn embed(net: &DenseNet, images: &Tensor<4>) -> Option<Tensor<2>> {
    let [batch, _, height, width] = images.dims();
    if !net.kernels || !enabled() || batch == 0 || primitive(images).is_none() {
        return None;
    }
    let autodiff = images.device().is_autodiff() || net.features.conv0.weight.val().device().is_autodiff();
    let mode = Mode::of(&net.features, autodiff)?;
    if mode == Mode::Frozen {
        let packed = packed(net)?;
        let pooled = Dispatch::frozen_features(images.clone().into_dispatch(), packed);
        return Some(Tensor::from_dispatch(pooled));
    }
    let arch = arch(&net.features)?;
    let training = mode == Mode::BatchStatistics;
    // The variance of a single value has no unbiased estimate.
    if training && batch * last_pixels(&arch, height, width) == 1 {
        return None;
    }
    let statistics = match training {
        true => None,
        false => Some(primitives(running(&net.features))?.iter().flat_map(owned).collect()),
    };
    primitives(parameters(&net.features))?;
    let flat = Tensor::cat(parameters(&net.features), 0);
    let call = Arc::new(Call { arch, running: statistics, batch: OnceLock::new() });
    let pooled =
        Dispatch::trained_features(images.clone().into_dispatch(), flat.into_dispatch(), call.clone());
    if let Some(statistics) = call.batch.get() {
        update_running(&net.features, &call.arch, statistics);
    }
    Some(Tensor::from_dispatch(pooled))
}

/// The class scores by the kernels; none where the classifier is to be burn's.
pub(super) fn classify(net: &DenseNet, pooled: &Tensor<2>) -> Option<Tensor<2>> {
    let (weight, bias) = (net.classifier.weight.val(), net.classifier.bias.as_ref()?.val());
    if !net.kernels || !enabled() || pooled.dims()[0] == 0 {
        return None;
    }
    primitive(pooled).and(primitive(&weight)).and(primitive(&bias))?;
    let [pooled, weight, bias] =
        [pooled.clone().into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
    Some(Tensor::from_dispatch(Dispatch::rowwise_linear(pooled, weight, bias)))
}

/// Frees the working memory that the CPU kernels keep for their next call: about 1 GB after a training step with
/// 32 images of 224x224 pixels.
pub fn release_memory() {
    kernels::release_memory();
}

/// `HISTOGUARD_KERNELS=off` composes every network, for comparison.
fn enabled() -> bool {
    static ENABLED: OnceLock<bool> = OnceLock::new();
    *ENABLED.get_or_init(|| std::env::var_os("HISTOGUARD_KERNELS").is_none_or(|value| value != "off"))
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// Constant weights and running statistics.
    Frozen,
    /// Running statistics, weights with gradients.
    RunningStatistics,
    /// Batch statistics: training.
    BatchStatistics,
}

impl Mode {
    fn of(features: &Features, autodiff: bool) -> Option<Self> {
        let flags = |norm: &BatchNorm| norm.training.is_enabled();
        if autodiff && norms(features).any(flags) {
            let dropout = features
                .denseblocks
                .iter()
                .flat_map(|block| &block.layers)
                .any(|layer| layer.dropout.prob > 0.0 && layer.dropout.training.is_enabled());
            return (norms(features).all(flags) && !dropout).then_some(Self::BatchStatistics);
        }
        let tracked = |part: &Part| match part {
            Part::Conv(conv) => conv.weight.val().is_tracked(),
            Part::Norm(norm) => norm.gamma.val().is_tracked() || norm.beta.val().is_tracked(),
        };
        Some(if features.parts().iter().any(tracked) { Self::RunningStatistics } else { Self::Frozen })
    }
}

/// Where [`PackedCache`](super::packed_cache::PackedCache) keeps packed weights.
pub(super) type Slot = Arc<Mutex<Option<Entry>>>;

pub(super) struct Entry {
    /// The very tensors that were packed. Holding them keeps burn from writing to them in place, so that a
    /// tensor in the same memory has the same values.
    key: Vec<FloatTensor<Flex>>,
    packed: Arc<Packed>,
}

fn packed(net: &DenseNet) -> Option<Arc<Packed>> {
    let parameters = primitives(parameters(&net.features))?;
    let running = primitives(running(&net.features))?;
    let split = parameters.len();
    let key: Vec<_> = parameters.into_iter().chain(running).collect();
    let same = |entry: &Entry| {
        entry.key.len() == key.len()
            && entry
                .key
                .iter()
                .zip(&key)
                .all(|(a, b)| a.bytes().as_ptr() == b.bytes().as_ptr() && a.layout() == b.layout())
    };
    let mut slot = net.packed.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = slot.as_ref().filter(|entry| same(entry)) {
        return Some(entry.packed.clone());
    }
    let arch = arch(&net.features)?;
    let [parameters, running] =
        [&key[..split], &key[split..]].map(|tensors| tensors.iter().flat_map(owned).collect::<Vec<f32>>());
    let packed = Arc::new(Packed::new(&arch, &parameters, &running));
    *slot = Some(Entry { key, packed: packed.clone() });
    Some(packed)
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

/// Moves every norm's running statistics towards those of a batch, which come in the kernels' order.
fn update_running(features: &Features, arch: &Arch, batch: &[f32]) {
    let slots = arch.statistics();
    for (norm, slots) in norms(features).zip(slots.chunks_exact(2)) {
        let device = norm.running_mean.value().device();
        let [mean, variance] = [&slots[0], &slots[1]]
            .map(|slot| Tensor::from_data(TensorData::from(&batch[slot.offset..][..slot.shape[0]]), &device));
        batch_norm::update(norm, mean, variance);
    }
}

/// The CPU backend's tensor, if this is one in single precision.
fn primitive<const D: usize>(tensor: &Tensor<D>) -> Option<FloatTensor<Flex>> {
    let plain = tensor.clone().without_autodiff();
    (plain.dtype() == DType::F32).then(|| plain.try_into_primitive::<Flex>().ok()).flatten()
}

fn primitives(tensors: Vec<Tensor<1>>) -> Option<Vec<FloatTensor<Flex>>> {
    tensors.iter().map(primitive).collect()
}

fn owned(tensor: &FloatTensor<Flex>) -> Vec<f32> {
    values(&tensor.to_contiguous()).to_vec()
}
