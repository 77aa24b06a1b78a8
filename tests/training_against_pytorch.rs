//! Training step by step against PyTorch's Adam and SGD in float64: losses in training and in evaluation mode.
#![cfg(feature = "train")]

use std::path::Path;
use std::sync::Arc;

use histoguard::data::{ImageSet, MemoryImage, Sample};
use histoguard::prelude::*;
use histoguard::train::{DataParallel, EpochRecord, Optimizer, SharedOptimizer, Trainer, TrainingConfig};
use image::RgbImage;
use safetensors::SafeTensors;
use serde::Deserialize;

/// What `golden/adam.py` wrote.
#[derive(Deserialize)]
struct Golden {
    train: usize,
    side: usize,
    learning_rate: f64,
    history: Vec<Step>,
    last_block: Vec<Step>,
    head: Vec<Step>,
    optimizers: Vec<Other>,
}

/// Another optimizer than the paper's.
#[derive(Deserialize)]
struct Other {
    optimizer: Optimizer,
    learning_rate: f64,
    history: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    train_loss: f64,
    train_accuracy: f64,
    validation_loss: f64,
    validation_accuracy: f64,
}

/// The golden images as sets of their own and the network that PyTorch started from.
fn load(folder: &Path, config: DenseNetConfig) -> (Golden, [ImageSet; 2], DenseNet) {
    let golden: Golden = serde_json::from_slice(&std::fs::read(folder.join("adam.json")).unwrap()).unwrap();
    let bytes = std::fs::read(folder.join("adam.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let size = 3 * golden.side * golden.side;
    let side = golden.side as u32;
    let samples: Vec<Sample> = file
        .tensor("images")
        .unwrap()
        .data()
        .chunks_exact(size)
        .enumerate()
        .map(|(i, pixels)| {
            let image = RgbImage::from_raw(side, side, pixels.to_vec()).unwrap();
            Sample::new(MemoryImage(Arc::new(image)), i % 2, i.to_string())
        })
        .collect();
    let (train, validation): (Vec<usize>, Vec<usize>) = (0..samples.len()).partition(|&i| i < golden.train);
    let set = ImageSet::new("golden", vec!["dark".into(), "bright".into()], samples).unwrap();

    let scratch = tempfile::tempdir().unwrap();
    let weights: Vec<_> =
        file.iter().filter_map(|(name, view)| Some((name.strip_prefix("net.")?.to_string(), view))).collect();
    let path = scratch.path().join("net.safetensors");
    std::fs::write(&path, safetensors::serialize(weights, None).unwrap()).unwrap();
    let net = histoguard::weights::load(config.init(&Device::default()), &path).unwrap();
    (golden, [set.subset(&train), set.subset(&validation)], net)
}

/// The tiny network of the golden data, and what it looks like while it is trained.
fn train(
    trainable: Trainable,
    settings: impl FnOnce(&Golden, TrainingConfig) -> TrainingConfig,
    devices: DataParallel,
) -> (Golden, Vec<EpochRecord>) {
    let config = DenseNetConfig::densenet121(2)
        .with_growth_rate(4)
        .with_block_config(vec![2, 2])
        .with_num_init_features(8)
        .with_bn_size(2);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let (golden, [train, validation], net) = load(&folder, config);
    let paper = TrainingConfig {
        epochs: golden.history.len(),
        // Every epoch is one step on all images, whatever their order.
        batch_size: golden.train,
        learning_rate: golden.learning_rate,
        image_size: golden.side,
        augmentation: None,
        ..TrainingConfig::paper()
    };
    let settings = settings(&golden, paper);
    let model = Normalized::new(net, Normalization::IMAGENET).with_trainable(trainable);
    let trained = Trainer::new(settings).data_parallel(devices).fit(model, &train, &validation).unwrap();
    (golden, trained.history.epochs)
}

/// The CPU, so many times.
fn devices(count: usize) -> DataParallel {
    DataParallel::new(vec![Device::flex(); count])
}

fn assert_same(what: &str, history: &[EpochRecord], expected: &[Step]) {
    assert_eq!((history.len(), expected.len()), (8, 8));
    for (ours, theirs) in history.iter().zip(expected) {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-4 * b;
        let loss = theirs.train_loss;
        assert!(near(ours.train_loss, loss), "{what}: {ours:?}, PyTorch {loss}");
        let loss = theirs.validation_loss;
        assert!(near(ours.validation_loss, loss), "{what}: {ours:?}, PyTorch {loss}");
        // Shares of a few images, to 12 digits.
        let same = |a: f64, b: f64| (a - b).abs() < 1e-11;
        assert!(same(ours.train_accuracy, theirs.train_accuracy), "{what}: {ours:?}, PyTorch {theirs:?}");
        let theirs = theirs.validation_accuracy;
        assert!(same(ours.validation_accuracy, theirs), "{what}: {ours:?}, PyTorch {theirs}");
    }
}

#[test]
fn losses_follow_pytorch_step_by_step() {
    for trainable in [Trainable::All, Trainable::LastBlocks(1), Trainable::HeadOnly] {
        let (golden, history) = train(trainable, |_, paper| paper, devices(1));
        let expected = match trainable {
            Trainable::All => golden.history,
            Trainable::LastBlocks(_) => golden.last_block,
            Trainable::HeadOnly => golden.head,
        };
        assert_same(&format!("{trainable:?}"), &history, &expected);
    }
}

#[test]
fn other_optimizers_follow_pytorch_step_by_step() {
    for number in 0..4 {
        let (golden, history) = train(
            Trainable::All,
            |golden, paper| {
                let Other { optimizer, learning_rate, .. } = golden.optimizers[number];
                TrainingConfig { optimizer, learning_rate, ..paper }
            },
            devices(1),
        );
        let Other { optimizer, history: expected, .. } = &golden.optimizers[number];
        assert_same(&format!("{optimizer:?}"), &history, expected);
    }
}

#[test]
fn devices_follow_pytorch_where_no_batch_norm_tells_the_parts_apart() {
    for (count, optimizer) in [
        (2, SharedOptimizer::Main),
        (2, SharedOptimizer::Sharded),
        (3, SharedOptimizer::Main),
        (12, SharedOptimizer::Main),
    ] {
        let devices = devices(count).optimizer(optimizer);
        let (golden, history) = train(Trainable::HeadOnly, |_, paper| paper, devices);
        assert_same(&format!("{count} devices, {optimizer:?}"), &history, &golden.head);
    }
}

/// `golden/two_devices.py` wrote the losses.
#[test]
fn two_devices_follow_pytorch_with_each_half_normalized_by_itself() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/two_devices.json");
    let expected: Vec<Step> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for optimizer in [SharedOptimizer::Main, SharedOptimizer::Sharded] {
        let (_, history) = train(Trainable::All, |_, paper| paper, devices(2).optimizer(optimizer));
        assert_same(&format!("{optimizer:?}"), &history, &expected);
    }
}
