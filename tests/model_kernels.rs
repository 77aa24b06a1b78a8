//! The CPU kernels compute what burn's operations compute.
#![cfg(feature = "flex")]

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Gradients, Int, Tensor, TensorData};
use histoguard::model::Precision;
use histoguard::prelude::*;
use histoguard::weights;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

const TOLERANCE: f32 = 1e-4;

fn random<const D: usize>(
    shape: [usize; D],
    range: std::ops::Range<f32>,
    seed: u64,
    device: &Device,
) -> Tensor<D> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(range.clone())).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Norms with weights, biases and running statistics that matter.
struct Lively(u64);

impl ModuleMapper for Lively {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D != 1 {
            return param;
        }
        self.0 += 1;
        param.map(|old| {
            let require_grad = old.is_require_grad();
            let plain = old.without_autodiff();
            let range = if plain.clone().min().into_scalar::<f32>() > 0.5 { 0.5..1.5 } else { -0.3..0.3 };
            let new = random(plain.dims(), range, self.0, &plain.device());
            if require_grad { new.autodiff().require_grad() } else { new }
        })
    }
}

fn config(
    growth: usize,
    blocks: &[usize],
    first: usize,
    bottleneck: usize,
    channels: usize,
) -> DenseNetConfig {
    DenseNetConfig::new(3)
        .with_growth_rate(growth)
        .with_block_config(blocks.to_vec())
        .with_num_init_features(first)
        .with_bn_size(bottleneck)
        .with_in_channels(channels)
}

fn family() -> Vec<(DenseNetConfig, [usize; 2])> {
    vec![
        (config(4, &[2, 1], 6, 2, 3), [32, 37]),
        (config(32, &[1, 2], 64, 4, 3), [40, 33]),
        (config(5, &[1, 1, 2], 33, 3, 1), [29, 45]),
        (config(12, &[2], 16, 4, 4), [30, 30]),
    ]
}

/// The network with kernels and its twin without; nothing is shared between them.
fn pair(config: &DenseNetConfig, device: &Device) -> [DenseNet; 2] {
    let net =
        |kernels| config.init_seeded(&device.clone().inner(), 5).map(&mut Lively(9)).with_kernels(kernels);
    [true, false].map(|kernels| if device.is_autodiff() { net(kernels).train() } else { net(kernels) })
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

#[track_caller]
fn assert_close(what: &str, a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "{what}");
    let largest = b.iter().fold(1e-20f32, |m, v| m.max(v.abs()));
    let off = a.iter().zip(b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(off <= TOLERANCE * largest, "{what}: off by {off} where the largest is {largest}");
}

#[test]
fn evaluation_and_input_gradients_agree() {
    let device = Device::default();
    for (config, [height, width]) in family() {
        let images = random([3, config.in_channels, height, width], 0.0..1.0, 1, &device);
        let [fast, slow] = pair(&config, &device).map(|net| {
            let victim = Frozen::new(net);
            let result = victim
                .input_gradient(images.clone(), |logits| logits.powi_scalar(2).sum_dim(1).reshape([-1]));
            (numbers(result.logits), numbers(result.gradient), numbers(victim.logits(images.clone())))
        });
        assert_close("logits", &fast.0, &slow.0);
        assert_close("gradient", &fast.1, &slow.1);
        assert_close("without autodiff", &fast.2, &slow.2);
        assert!(fast.1 != slow.1, "the kernels were not used");
    }
}

#[test]
fn gradients_in_bfloat16_are_near_and_logits_stay() {
    let device = Device::default();
    for (config, [height, width]) in family() {
        let [net, composed] = pair(&config, &device);
        let quick = match net.clone().with_gradient_precision(Precision::Bfloat16) {
            Ok(quick) => quick,
            Err(error) => {
                assert!(error.to_string().contains("AMX-BF16 (on Linux) or AVX512-BF16, found"), "{error}");
                return;
            }
        };
        let images = random([3, config.in_channels, height, width], 0.0..1.0, 1, &device);
        let loss = |logits: Tensor<2>| logits.powi_scalar(2).sum_dim(1).reshape([-1]);
        let gradient = |net: DenseNet| {
            let victim = Frozen::new(net);
            let gradient = numbers(victim.input_gradient(images.clone(), loss).gradient);
            (gradient, numbers(victim.logits(images.clone())))
        };
        let (exact, half) = (gradient(net.clone()), gradient(quick.clone()));
        assert_eq!(exact.1, half.1, "logits of images without gradients");
        let size = |v: &mut dyn Iterator<Item = f32>| v.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let off =
            size(&mut exact.0.iter().zip(&half.0).map(|(a, b)| a - b)) / size(&mut exact.0.iter().copied());
        assert!((1e-4..0.3).contains(&off), "{config:?}: {off}");
        let quick = quick.with_logit_precision(Precision::Bfloat16).unwrap();
        let logits = numbers(Frozen::new(quick.clone()).logits(images.clone()));
        let largest = exact.1.iter().fold(0.0f32, |largest, logit| largest.max(logit.abs()));
        let off = logits.iter().zip(&exact.1).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest;
        assert!((1e-6..0.05).contains(&off), "{config:?}: logits off by {off}");
        // Back in single precision, and where burn's operations compute.
        let single = quick.with_gradient_precision(Precision::Float32).unwrap();
        let single = single.with_logit_precision(Precision::Float32).unwrap();
        assert_eq!(gradient(single), exact);
        let without = composed.clone().with_gradient_precision(Precision::Bfloat16).unwrap();
        assert_eq!(gradient(without), gradient(composed));
    }
}

/// What refuses gradients in bfloat16 in a process of its own: see the next test.
#[test]
fn what_is_in_the_way_of_bfloat16_is_named() {
    let net = config(4, &[1], 6, 2, 3).init(&Device::default());
    let refused =
        net.with_gradient_precision(Precision::Bfloat16).map(|_| ()).map_err(|error| error.to_string());
    for name in ["HISTOGUARD_KERNELS", "HISTOGUARD_SIMD"] {
        if let Ok(value) = std::env::var(name) {
            assert!(refused.clone().unwrap_err().ends_with(&format!("found {name}={value}")), "{refused:?}");
        }
    }
}

#[test]
fn the_environment_refuses_bfloat16() {
    for (name, value) in [("HISTOGUARD_KERNELS", "off"), ("HISTOGUARD_SIMD", "portable")] {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_is_in_the_way_of_bfloat16_is_named"])
            .env_remove("HISTOGUARD_KERNELS")
            .env_remove("HISTOGUARD_SIMD")
            .env(name, value)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{name}: {output}");
    }
}

/// Gradients of trained parameters and, of a module in evaluation mode, everything else.
struct Collect<'a> {
    gradients: Option<&'a Gradients>,
    path: Vec<String>,
    found: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = match self.gradients {
            Some(gradients) => param.val().grad(gradients),
            None => Some(param.val()),
        };
        if let Some(value) = value {
            self.found.insert(self.path.join("."), numbers(value));
        }
    }
}

fn collect<M: Module>(module: &M, gradients: Option<&Gradients>) -> BTreeMap<String, Vec<f32>> {
    let mut collect = Collect { gradients, path: Vec::new(), found: BTreeMap::new() };
    module.visit(&mut collect);
    collect.found
}

/// Logits, input gradient, weight gradients, and all parameters and statistics after the step.
type Step = (Vec<f32>, Vec<f32>, BTreeMap<String, Vec<f32>>, BTreeMap<String, Vec<f32>>);

fn step(net: &DenseNet, images: &Tensor<4>) -> Step {
    let images = images.clone().require_grad();
    let logits = net.forward(images.clone());
    let labels = Tensor::<1, Int>::from_data([0, 1, 2, 1], &images.device());
    let loss = CrossEntropyLossConfig::new().init(&images.device()).forward(logits.clone(), labels);
    let gradients = loss.backward();
    let input = images.grad(&gradients).unwrap();
    (numbers(logits), numbers(input), collect(net, Some(&gradients)), collect(&net.valid(), None))
}

fn assert_steps_agree([fast, slow]: [Step; 2]) {
    assert_close("logits", &fast.0, &slow.0);
    assert_close("input gradient", &fast.1, &slow.1);
    assert!(fast.2.keys().eq(slow.2.keys()));
    // What stands before a batch norm hardly matters to the loss: its gradient is all cancellation.
    let size = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>().sqrt();
    let largest = slow.2.values().map(|values| size(values)).fold(0.0, f32::max);
    for (name, expected) in &slow.2 {
        let difference: Vec<f32> = fast.2[name].iter().zip(expected).map(|(a, b)| a - b).collect();
        let (off, own) = (size(&difference), size(expected));
        assert!(off <= TOLERANCE * own.max(0.1 * largest), "{name}: off by {off} of {own}");
    }
    for (name, expected) in &slow.3 {
        assert_close(name, &fast.3[name], expected);
    }
}

#[track_caller]
fn assert_kernels_used([fast, slow]: &[Step; 2]) {
    assert!(fast.1 != slow.1, "the kernels were not used");
}

#[test]
fn training_steps_agree() {
    let device = Device::default().autodiff();
    for (config, [height, width]) in family() {
        // With other images a pool's near-tie may go either way, at whatever level.
        let images = random([4, config.in_channels, height, width], 0.0..1.0, 4, &device);
        let steps = pair(&config, &device).map(|net| step(&net, &images));
        assert_kernels_used(&steps);
        assert_steps_agree(steps);
    }
}

#[test]
fn weight_gradients_with_running_statistics_agree() {
    let device = Device::default().autodiff();
    for (config, [height, width]) in family() {
        let images = random([4, config.in_channels, height, width], 0.0..1.0, 3, &device);
        let steps = pair(&config, &device).map(|net| {
            let before = collect(&net.valid(), None);
            let frozen = net.freeze().set_require_grad(true);
            let step = step(&frozen, &images);
            assert!(before == step.3);
            step
        });
        assert_kernels_used(&steps);
        assert_steps_agree(steps);
    }
}

#[test]
fn half_frozen_networks_agree() {
    let device = Device::default().autodiff();
    let (config, [height, width]) = family().remove(0);
    let images = random([4, 3, height, width], 0.0..1.0, 3, &device);
    let steps = pair(&config, &device).map(|mut net| {
        net.features.norm0 = net.features.norm0.freeze();
        step(&net, &images)
    });
    assert_steps_agree(steps);
}

#[test]
fn training_without_gradients_moves_the_statistics_too() {
    let device = Device::default().autodiff();
    let (config, [height, width]) = family().remove(1);
    let images = random([2, 3, height, width], 0.0..1.0, 4, &device);
    let [fast, slow] = pair(&config, &device).map(|net| {
        let net = net.no_grad();
        let logits = numbers(net.forward(images.clone()));
        (logits, collect(&net.valid(), None))
    });
    assert_close("logits", &fast.0, &slow.0);
    for (name, expected) in &slow.1 {
        assert_close(name, &fast.1[name], expected);
    }
}

#[test]
fn an_image_gives_the_same_bits_in_any_batch() {
    let device = Device::default();
    let (config, [height, width]) = family().remove(1);
    let [net, _] = pair(&config, &device);
    let victim = Frozen::new(net);
    let images = random([9, 3, height, width], 0.0..1.0, 6, &device);
    let run = |from: usize, to: usize| {
        let part = images.clone().narrow(0, from, to - from);
        let found = victim.input_gradient(part, |logits| logits.powi_scalar(2).sum_dim(1).reshape([-1]));
        (numbers(found.logits), numbers(found.gradient))
    };
    let whole = run(0, 9);
    let image = 3 * height * width;
    for (from, to) in [(0, 1), (3, 4), (8, 9), (2, 5), (1, 9)] {
        let part = run(from, to);
        assert!(part.0 == whole.0[3 * from..3 * to], "logits of {from}..{to}");
        assert!(part.1 == whole.1[image * from..image * to], "gradients of {from}..{to}");
    }
}

#[test]
fn a_nan_stays_in_its_image() {
    let device = Device::default();
    let (config, [height, width]) = family().remove(1);
    let victim = Frozen::new(pair(&config, &device).into_iter().next().unwrap());
    let images = random([3, 3, height, width], 0.0..1.0, 7, &device);
    let poisoned =
        images.clone().slice_assign([1..2, 0..1, 5..6, 5..6], Tensor::full([1, 1, 1, 1], f32::NAN, &device));
    let run = |images: Tensor<4>| {
        let found = victim.input_gradient(images, |logits| logits.sum_dim(1).reshape([-1]));
        (numbers(found.logits), numbers(found.gradient))
    };
    let (clean, found) = (run(images), run(poisoned));
    let image = 3 * height * width;
    assert!(found.0[3..6].iter().all(|v| v.is_nan()));
    for i in [0, 2] {
        assert!(found.0[3 * i..][..3] == clean.0[3 * i..][..3]);
        assert!(found.1[image * i..][..image] == clean.1[image * i..][..image]);
    }
}

#[test]
fn packed_weights_follow_every_change_of_the_network() {
    let device = Device::default();
    let (config, [height, width]) = family().remove(0);
    let images = random([2, 3, height, width], 0.0..1.0, 8, &device);
    let check = |what: &str, net: &DenseNet| {
        let fast = numbers(net.forward(images.clone()));
        assert_close(what, &fast, &numbers(net.clone().with_kernels(false).forward(images.clone())));
        fast
    };
    let [mut net, _] = pair(&config, &device);
    let mut seen = vec![check("new", &net)];

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("net.safetensors");
    weights::save_safetensors(&config.init_seeded(&device, 77).map(&mut Lively(3)), &file).unwrap();
    let loaded = weights::load(net.clone(), file).unwrap();
    seen.push(check("loaded", &loaded));
    assert_eq!(check("the clone of a loaded one", &net), seen[0]);

    net.features.conv0 = loaded.features.conv0.clone();
    seen.push(check("a part exchanged", &net));
    net.features.norm5.gamma = net.features.norm5.gamma.map(|gamma| gamma * 2.0);
    seen.push(check("a parameter changed", &net));

    let clone = net.clone();
    let training = net.train();
    let trained_images = Tensor::from_inner(images.clone());
    let logits = training.forward(trained_images);
    let loss = logits.powi_scalar(2).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &training);
    seen.push(check("statistics moved", &training.valid()));
    let stepped = AdamConfig::new().init().step(0.01, training, gradients);
    seen.push(check("a step taken", &stepped.valid()));
    check("a clone from before", &clone);

    for (i, a) in seen.iter().enumerate() {
        assert!(seen[..i].iter().all(|b| a != b), "change {i} did not change the logits");
    }
}

#[test]
fn sealed_weights_are_not_looked_at_again() {
    let device = Device::default();
    let (config, [height, width]) = family().remove(0);
    let images = random([2, 3, height, width], 0.0..1.0, 8, &device);
    let [net, _] = pair(&config, &device);
    let answer = |net: &DenseNet| numbers(net.forward(images.clone()));
    let mut sealed = net.clone();
    sealed.seal();
    assert_eq!(answer(&sealed), answer(&net));
    let mut clone = sealed.clone();
    clone.features.norm5.gamma = clone.features.norm5.gamma.map(|gamma| gamma * 2.0);
    assert!(answer(&clone) != answer(&net));
    assert_eq!(answer(&sealed), answer(&net));
    sealed.features.norm5.gamma = sealed.features.norm5.gamma.map(|gamma| gamma * 2.0);
    assert_eq!(answer(&sealed), answer(&net));

    // What is derived from it is another network, and what shares its weights has a form of its own.
    let derived = sealed.map(&mut Lively(5));
    assert_close("derived", &answer(&derived), &answer(&derived.clone().with_kernels(false)));
    let mut changed = net.clone();
    let frozen = Frozen::new(net);
    let before = numbers(frozen.logits(images.clone()));
    changed.features.norm5.gamma = changed.features.norm5.gamma.map(|gamma| gamma * 2.0);
    assert!(answer(&changed) != before);
    assert_eq!(numbers(frozen.logits(images.clone())), before);
}

#[test]
fn lower_instruction_levels_agree_too() {
    let tests = [
        "evaluation_and_input_gradients_agree",
        "training_steps_agree",
        "weight_gradients_with_running_statistics_agree",
    ];
    for level in ["avx2", "portable"] {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .arg("--exact")
            .args(tests)
            .env("HISTOGUARD_SIMD", level)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("3 passed"), "{level}: {output}");
    }
}
