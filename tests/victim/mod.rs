//! The small trained networks, images and results of `golden/attacks`, for the attack tests to share.
#![allow(dead_code)]

use std::path::PathBuf;

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor, TensorData};
use histoguard::classifier::Embed;
use histoguard::prelude::*;
use histoguard::random::{Purpose, RngExt, generator};
use safetensors::{Dtype, SafeTensors};

/// The network of `golden/attacks/victim.py`.
#[derive(Module, Debug)]
pub struct Victim {
    conv0: Conv2d,
    conv1: Conv2d,
    conv2: Conv2d,
    pool: AvgPool2d,
    linear: Linear,
}

impl Victim {
    /// The one that was trained for this many classes, 2 or 4.
    pub fn trained(classes: usize, device: &Device) -> Self {
        let parameter = |name: &str| golden("victim", &format!("net{classes}.{name}"));
        let conv = |name: &str, channels| {
            let config =
                Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
            let mut conv = config.init(device);
            conv.weight = Param::from_data(parameter(&format!("{name}.weight")), device);
            conv.bias = Some(Param::from_data(parameter(&format!("{name}.bias")), device));
            conv
        };
        let mut linear = LinearConfig::new(16, classes).init(device);
        let weight = Tensor::<2>::from_data(parameter("linear.weight"), device).transpose();
        linear.weight = Param::from_tensor(weight);
        linear.bias = Some(Param::from_data(parameter("linear.bias"), device));
        Self {
            conv0: conv("conv0", [3, 8]),
            conv1: conv("conv1", [8, 12]),
            conv2: conv("conv2", [12, 16]),
            pool: AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            linear,
        }
    }
}

impl Victim {
    /// The same form with weights of its own, the same every time.
    pub fn untrained(classes: usize, device: &Device) -> Self {
        let trained = Self::trained(4, device);
        let mut weights = generator(Purpose::named("an untrained victim"), 0, &[]);
        let mut conv = |conv: Conv2d| {
            let [to, from, rows, columns] = conv.weight.dims();
            let bound = (6.0 / (from * rows * columns) as f32).sqrt();
            let values: Vec<f32> =
                (0..to * from * rows * columns).map(|_| weights.random_range(-bound..bound)).collect();
            let weight = TensorData::new(values, [to, from, rows, columns]);
            Conv2d {
                weight: Param::from_data(weight, device),
                bias: Some(Param::from_tensor(Tensor::zeros([to], device))),
                ..conv
            }
        };
        let (conv0, conv1, conv2) = (conv(trained.conv0), conv(trained.conv1), conv(trained.conv2));
        let values: Vec<f32> = (0..16 * classes).map(|_| weights.random_range(-0.25..0.25)).collect();
        let mut linear = LinearConfig::new(16, classes).init(device);
        linear.weight = Param::from_data(TensorData::new(values, [16, classes]), device);
        linear.bias = Some(Param::from_tensor(Tensor::zeros([classes], device)));
        Self { conv0, conv1, conv2, linear, pool: trained.pool }
    }
}

impl Embed for Victim {
    fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(silu(self.conv0.forward((images - 0.5) / 0.25)));
        let x = self.pool.forward(silu(self.conv1.forward(x)));
        silu(self.conv2.forward(x)).mean_dims(&[2, 3]).reshape([-1, 16])
    }

    fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.linear.forward(features)
    }
}

impl Classifier for Victim {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.head(self.embed(images))
    }

    fn num_classes(&self) -> usize {
        self.linear.weight.dims()[1]
    }
}

/// The frozen network for this many classes.
pub fn victim(classes: usize) -> Frozen {
    Frozen::new(Victim::trained(classes, &Device::default()))
}

/// Answers NaN to every image that is nearly white all over, as [`whitened`] makes them.
pub fn blinded(victim: Frozen) -> Frozen {
    victim.behind(|x| {
        let white = x.clone().min_dims(&[1, 2, 3]).greater_elem(0.98).expand(x.dims());
        x.mask_fill(white, f32::NAN)
    })
}

/// The images with this one 0.99 all over.
pub fn whitened(images: Tensor<4>, image: usize) -> Tensor<4> {
    let [_, channels, height, width] = images.dims();
    let white = Tensor::full([1, channels, height, width], 0.99, &images.device());
    images.slice_assign(image..image + 1, white)
}

/// Its test images `[32, 3, 16, 16]`, all classified correctly; 8-bit values over 255.
pub fn images(classes: usize) -> Tensor<4> {
    let levels: Vec<f32> = golden("victim", &format!("images{classes}")).try_into_vec().unwrap();
    let unit: Vec<f32> = levels.into_iter().map(|level| level / 255.0).collect();
    Tensor::from_data(TensorData::new(unit, [32, 3, 16, 16]), &Device::default())
}

/// Their classes.
pub fn labels(classes: usize) -> Vec<usize> {
    let labels: Vec<f32> = golden("victim", &format!("labels{classes}")).try_into_vec().unwrap();
    labels.into_iter().map(|label| label as usize).collect()
}

/// A tensor of `golden/attacks/FILE.safetensors`, as f32.
pub fn golden(file: &str, name: &str) -> TensorData {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "attacks", &format!("{file}.safetensors")]
            .iter()
            .collect();
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => {
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
        }
        Dtype::I64 => {
            view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32).collect()
        }
        Dtype::U8 => view.data().iter().map(|&b| f32::from(b)).collect(),
        other => panic!("{name}: {other:?}"),
    };
    TensorData::new(values, view.shape().to_vec())
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap()
}

pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// How many of these images the victim still gets right.
pub fn right(victim: &Frozen, images: Tensor<4>, labels: &[usize]) -> usize {
    victim.predict(images).iter().zip(labels).filter(|(found, label)| found == label).count()
}
