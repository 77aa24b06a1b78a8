//! Attacks a small network of your own: implement `Classifier` for any burn module, freeze it, perturb.
//!
//! `cargo run --release --example own_model`

mod common {
    pub mod failure;
    pub mod output;
    pub mod program;
}

use std::process::ExitCode;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use clap::Parser;
use common::failure::Failure;
use common::output::say;
use common::program;
use histoguard::prelude::*;

/// Attacks a small network with FGSM.
#[derive(Debug, Parser)]
struct Options {}

#[derive(Module, Debug)]
struct SmallNet {
    conv: Conv2d,
    classifier: Linear,
}

impl SmallNet {
    fn new(device: &Device) -> Self {
        Self {
            conv: Conv2dConfig::new([3, 16], [5, 5]).with_stride([2, 2]).init(device),
            classifier: LinearConfig::new(16, 2).init(device),
        }
    }
}

impl Classifier for SmallNet {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        let features = relu(self.conv.forward(images)).mean_dims(&[2, 3]);
        self.classifier.forward(features.flatten(1, 3))
    }

    fn num_classes(&self) -> usize {
        2
    }
}

fn main() -> ExitCode {
    program::run(|Options {}| attack())
}

fn attack() -> Result<(), Failure> {
    let device = Device::default();
    device.seed(0);
    let noise = Tensor::<4>::random([8, 3, 64, 64], burn::tensor::Distribution::Uniform(0.0, 1.0), &device);
    let brightness = Tensor::<1>::from_floats([0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0], &device);
    let images = noise * brightness.reshape([8, 1, 1, 1]);
    let mut net = SmallNet::new(&device);
    // Untrained, it gives all images one answer: its boundary is put among them.
    let middle = net.logits(images.clone()).mean_dim(0).flatten::<1>(0, 1);
    net.classifier.bias = net.classifier.bias.map(|bias| bias.map(|bias| bias - middle));
    let victim = Frozen::new(net);
    // The network's own answers stand in for labels: the attack has to change them.
    let labels = victim.predict(images.clone());

    for budget in [1.0, 4.0, 16.0].map(Budget::pixels) {
        let attack = Fgsm::new(budget);
        let adversarial = attack.perturb(&victim, images.clone(), &Goal::untargeted(labels.as_slice()))?;
        let changed =
            victim.predict(adversarial).iter().zip(&labels).filter(|(now, before)| now != before).count();
        let (shown, all) = (budget.shown(), labels.len());
        say(format_args!("FGSM at epsilon {shown}: {changed} of {all} answers changed"))?;
    }
    Ok(())
}
