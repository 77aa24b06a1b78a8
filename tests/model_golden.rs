//! A tiny DenseNet computes what torchvision's computes in float64.

mod golden;

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Gradients, Int, Tensor};
use histoguard::prelude::*;
use histoguard::weights;

const TOLERANCE: f64 = 1e-4;

#[test]
fn evaluation_equals_pytorch_with_and_without_kernels() {
    evaluation(true);
    evaluation(false);
}

#[test]
fn a_training_step_equals_pytorch_with_and_without_kernels() {
    training_step(true);
    training_step(false);
}

fn evaluation(kernels: bool) {
    let device = Device::default();
    let net = golden::config().init(&device).with_kernels(kernels);
    let net = weights::load(net, golden::path("densenet_tiny.safetensors")).unwrap();
    let expected = golden::tensors("densenet_tiny_expected.safetensors");
    let images = golden::tensor::<4>(&expected["images"], &device);
    let labels: Vec<usize> = expected["labels"].1.iter().map(|&label| label as usize).collect();

    let victim = Frozen::new(net);
    let found =
        victim.input_gradient(images.clone(), |logits| Goal::untargeted(labels.clone()).objective(logits));
    golden::assert_close("logits", found.logits, &expected["eval.logits"].1, TOLERANCE);
    golden::assert_close("gradient", found.gradient, &expected["eval.input_gradient"].1, TOLERANCE);
    golden::assert_close("without autodiff", victim.logits(images), &expected["eval.logits"].1, TOLERANCE);
}

fn training_step(kernels: bool) {
    let device = Device::default().autodiff();
    let net = golden::config().init(&device).with_kernels(kernels);
    let net = weights::load(net, golden::path("densenet_tiny.safetensors")).unwrap();
    let expected = golden::tensors("densenet_tiny_expected.safetensors");
    let images = golden::tensor::<4>(&expected["images"], &device).require_grad();
    let labels = Tensor::<1, Int>::from_data([2, 0, 1], &device);

    let logits = net.forward(images.clone());
    golden::assert_close("logits", logits.clone(), &expected["train.logits"].1, TOLERANCE);
    let mean = CrossEntropyLossConfig::new().init(&device).forward(logits, labels);
    let gradients = (mean * 3.0).backward();
    let gradient = images.grad(&gradients).unwrap();
    golden::assert_close("input gradient", gradient, &expected["train.input_gradient"].1, TOLERANCE);

    let mut compared =
        Compare { gradients, expected: &expected, path: Vec::new(), gradients_seen: 0, buffers_seen: 0 };
    net.valid().visit(&mut compared);
    net.visit(&mut compared);
    let count = |kind: &str| expected.keys().filter(|name| name.starts_with(kind)).count();
    assert_eq!(compared.gradients_seen, count("train.gradient."));
    assert_eq!(compared.buffers_seen, count("train.buffer."));
}

/// Compares the gradients of tracked parameters and, in a module in evaluation mode, the running statistics.
struct Compare<'a> {
    gradients: Gradients,
    expected: &'a std::collections::BTreeMap<String, (Vec<usize>, Vec<f64>)>,
    path: Vec<String>,
    gradients_seen: usize,
    buffers_seen: usize,
}

impl ModuleVisitor for Compare<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = golden::torchvision_name(&self.path);
        if let Some((_, buffer)) = self.expected.get(&format!("train.buffer.{name}")) {
            if !param.val().device().is_autodiff() {
                golden::assert_close(&name, param.val(), buffer, TOLERANCE);
                self.buffers_seen += 1;
            }
        } else if let Some(mut gradient) = param.val().grad(&self.gradients) {
            if name == "classifier.weight" {
                gradient = gradient.swap_dims(0, 1);
            }
            let expected = &self.expected[&format!("train.gradient.{name}")].1;
            golden::assert_close(&name, gradient, expected, TOLERANCE);
            self.gradients_seen += 1;
        }
    }
}
