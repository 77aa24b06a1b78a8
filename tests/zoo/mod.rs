//! Networks trained in a second on images that are lighter on one side, and the ways to train them.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::TensorData;
use burn::tensor::activation::{log_softmax, relu, softmax};
use histoguard::classifier::{Classifier, Embed};
use histoguard::data::TensorSet;
use histoguard::prelude::*;
use histoguard::random::{Generator, Purpose, RngExt, generator};

const SIDE: usize = 8;
const IMAGES: Purpose = Purpose::named("images of the zoo");
const WEIGHTS: Purpose = Purpose::named("weights of the zoo");

/// So many images and labels: a tenth lighter on the left or on the right, under twice as much noise.
pub fn images(count: usize, seed: u64) -> (Tensor<4>, Vec<usize>) {
    let mut rng = generator(IMAGES, seed, &[]);
    let labels: Vec<usize> = (0..count).map(|_| rng.random_range(0..2)).collect();
    let mut values = Vec::new();
    for &label in &labels {
        for at in 0..SIDE * SIDE {
            let left = at % SIDE < SIDE / 2;
            let light = if left == (label == 0) { 0.6 } else { 0.4 };
            values.push(light + rng.random_range(-0.2..0.2f32));
        }
    }
    let images = Tensor::from_data(TensorData::new(values, [count, 1, SIDE, SIDE]), &Device::default());
    (images, labels)
}

/// Images that no network was trained on.
pub fn test_set(count: usize) -> TensorSet {
    let (images, labels) = images(count, 1);
    TensorSet::new(images, labels, vec!["left".into(), "right".into()]).unwrap()
}

/// Two convolutions and two layers, for images of one side.
#[derive(Module, Debug)]
pub struct Net {
    first: Conv2d,
    second: Conv2d,
    hidden: Linear,
    last: Linear,
}

impl Net {
    pub fn new(side: usize, seed: u64) -> Self {
        let device = Device::default().autodiff();
        let conv = |channels, stride| {
            let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
            Conv2dConfig::new(channels, [3, 3])
                .with_stride([stride, stride])
                .with_padding(padding)
                .init(&device)
        };
        let net = Self {
            first: conv([1, 8], 1),
            second: conv([8, 16], 2),
            hidden: LinearConfig::new(16 * side.div_ceil(2).pow(2), 128).init(&device),
            last: LinearConfig::new(128, 2).init(&device),
        };
        net.map(&mut Seeded(generator(WEIGHTS, seed, &[])))
    }
}

/// PyTorch's initial weights, from a generator of their own: tests run side by side.
struct Seeded(Generator);

impl burn::module::ModuleMapper for Seeded {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let dims = param.val().dims();
        // Inputs of a convolution are behind its outputs, of a linear layer before them.
        let inputs = if D == 2 { dims[0] } else { dims[1..].iter().product::<usize>().max(1) };
        let bound = if D == 1 { 0.0 } else { (inputs as f32).sqrt().recip() };
        let values =
            (0..dims.iter().product()).map(|_| (self.0.random::<f32>() * 2.0 - 1.0) * bound).collect();
        let (device, data) = (param.val().device(), TensorData::new::<f32, _>(values, dims));
        param.map(|_| Tensor::from_data(data, &device).require_grad())
    }
}

impl Classifier for Net {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.head(self.embed(images))
    }

    fn num_classes(&self) -> usize {
        2
    }
}

impl Embed for Net {
    fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        let maps = relu(self.second.forward(relu(self.first.forward(images))));
        relu(self.hidden.forward(maps.flatten(1, 3)))
    }

    fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.last.forward(features)
    }
}

/// What a network is trained on.
pub enum Training<'a> {
    /// The images, after this change.
    On(&'a dyn Fn(Tensor<4>) -> Tensor<4>),
    /// What this attack makes of them.
    Against(&'a dyn Attack),
    /// The images at this temperature, with the answers of another network or the labels.
    At(f64, Option<&'a Net>),
}

/// Epochs of Adam on 512 images.
pub fn train(net: Net, epochs: usize, training: &Training<'_>) -> Net {
    let device = Device::default().autodiff();
    let (all, labels) = images(512, 0);
    let mut net = net;
    let mut adam = AdamConfig::new().init();
    for epoch in 0..epochs {
        for batch in 0..8 {
            // Every eighth image, from another one in every epoch: batches of one epoch share none.
            let rows: Vec<usize> = (0..64).map(|i| (i * 8 + batch + epoch * (i % 8)) % 512).collect();
            let images = histoguard::rows::take(&all, &rows);
            let goal = Goal::untargeted(rows.iter().map(|&row| labels[row]).collect::<Vec<_>>());
            let images = match training {
                Training::On(change) => change(images),
                Training::Against(attack) => {
                    attack.perturb(&Frozen::new(net.clone()), images, &goal).unwrap()
                }
                Training::At(..) => images,
            };
            let logits = net.logits(images.clone().to_device(&device));
            let loss = match training {
                Training::At(temperature, Some(teacher)) => {
                    let answers =
                        softmax(teacher.valid().logits(images) / *temperature, 1).to_device(&device);
                    (log_softmax(logits / *temperature, 1) * answers).sum_dim(1).mean().neg()
                }
                Training::At(temperature, None) => goal.objective(logits / *temperature).mean(),
                _ => goal.objective(logits).mean(),
            };
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            net = adam.step(3e-3, net, gradients);
        }
    }
    net
}
