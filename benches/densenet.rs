//! DenseNet-121 at 224x224: logits, one FGSM and one training step with Adam, in images per second.
//!
//! `cargo bench --bench densenet`; the peer is PyTorch's torchvision.models.densenet121.

use std::hint::black_box;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Distribution, Int};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use histoguard::prelude::*;

const BATCHES: [usize; 3] = [1, 8, 32];

fn images(batch: usize, device: &Device) -> Tensor<4> {
    device.seed(0);
    Tensor::random([batch, 3, 224, 224], Distribution::Uniform(0.0, 1.0), device)
}

fn evaluation(criterion: &mut Criterion) {
    let device = Device::default();
    let victim = Frozen::new(DenseNetConfig::densenet121(2).init_seeded(&device, 0));
    let attack = Fgsm::new(Epsilon::pixels(8.0));
    let mut group = criterion.benchmark_group("densenet121");
    group.sample_size(10);
    for batch in BATCHES {
        let images = images(batch, &device);
        let goal = Goal::untargeted(vec![1; batch]);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("forward", batch), |b| {
            b.iter(|| black_box(victim.logits(images.clone()).into_data()));
        });
        group.bench_function(BenchmarkId::new("fgsm", batch), |b| {
            b.iter(|| black_box(attack.perturb(&victim, images.clone(), &goal).unwrap().into_data()));
        });
    }
}

fn training(criterion: &mut Criterion) {
    let device = Device::default().autodiff();
    let mut group = criterion.benchmark_group("densenet121");
    group.sample_size(10);
    for batch in BATCHES {
        let images = images(batch, &device);
        let labels = Tensor::<1, Int>::from_data(vec![1i64; batch].as_slice(), &device);
        let loss = CrossEntropyLossConfig::new().init(&device);
        let mut adam = AdamConfig::new().with_epsilon(1e-8).init();
        let mut model = Some(DenseNetConfig::densenet121(2).init_seeded(&device, 0).train());
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new("train", batch), |b| {
            b.iter(|| {
                let net = model.take().expect("put back after every step");
                let loss = loss.forward(net.logits(images.clone()), labels.clone());
                let gradients = GradientsParams::from_grads(loss.backward(), &net);
                model = Some(adam.step(1e-3, net, gradients));
            });
        });
    }
}

criterion_group!(benches, evaluation, training);
criterion_main!(benches);
