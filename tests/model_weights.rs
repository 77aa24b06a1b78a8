//! Checkpoints that torchvision and PyTorch wrote, and those that they are to read.

mod golden;

use std::fs;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use histoguard::model::{DenseNet, DenseNetConfig, Normalized};
use histoguard::pixels::Normalization;
use histoguard::weights::{self, WeightsError};
use safetensors::SafeTensors;

fn logits(net: &DenseNet) -> Vec<f32> {
    let images = golden::tensor::<4>(
        &golden::tensors("densenet_tiny_expected.safetensors")["images"],
        &net.devices()[0],
    );
    net.forward(images).into_data().try_into_vec().unwrap()
}

fn fresh() -> DenseNet {
    golden::config().init(&Device::default())
}

#[test]
fn every_layout_of_a_checkpoint_gives_the_same_network() {
    let expected = golden::tensors("densenet_tiny_expected.safetensors");
    let images = golden::tensor::<4>(&expected["images"], &Device::default());
    for file in [
        "densenet_tiny.safetensors",
        "densenet_tiny.pth",
        "densenet_tiny_old_names.pth",
        "densenet_tiny_checkpoint.pth",
    ] {
        let net = weights::load(fresh(), golden::path(file)).unwrap();
        golden::assert_close(file, net.forward(images.clone()), &expected["eval.logits"].1, 1e-4);
    }
}

#[test]
fn the_content_decides_and_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let renamed = folder.path().join("net.pth");
    fs::copy(golden::path("densenet_tiny.safetensors"), &renamed).unwrap();
    weights::load(fresh(), renamed).unwrap();
    let renamed = folder.path().join("net.safetensors");
    fs::copy(golden::path("densenet_tiny.pth"), &renamed).unwrap();
    weights::load(fresh(), renamed).unwrap();
}

#[test]
fn a_saved_network_has_the_bits_of_torchvisions_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("saved.safetensors");
    let net = weights::load(fresh(), golden::path("densenet_tiny.safetensors")).unwrap();
    weights::save_safetensors(&Normalized::new(net, Normalization::IMAGENET), &file).unwrap();

    let [saved, original] =
        [file, golden::path("densenet_tiny.safetensors")].map(|file| fs::read(file).unwrap());
    let [saved, original] = [&saved, &original].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    let mut names = [saved.names(), original.names()];
    names.iter_mut().for_each(|names| names.sort());
    assert_eq!(names[0], names[1]);
    for (name, tensor) in original.tensors() {
        let found = saved.tensor(&name).unwrap();
        assert_eq!((found.dtype(), found.shape()), (tensor.dtype(), tensor.shape()), "{name}");
        assert_eq!(found.data(), tensor.data(), "{name}");
    }
}

#[test]
fn a_full_network_is_saved_under_torchvisions_names_and_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("saved.safetensors");
    weights::save_safetensors(&DenseNetConfig::densenet121(2).init(&Device::default()), &file).unwrap();
    let bytes = fs::read(file).unwrap();
    let saved = SafeTensors::deserialize(&bytes).unwrap();
    let mut lines: Vec<String> =
        saved.tensors().iter().map(|(name, tensor)| format!("{name} {:?}\n", tensor.shape())).collect();
    lines.sort();
    assert_eq!(lines.concat(), fs::read_to_string(golden::path("densenet121_names.txt")).unwrap());
}

#[test]
fn the_last_update_of_the_running_statistics_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trained.safetensors");
    let device = Device::default().autodiff();
    let net =
        weights::load(golden::config().init(&device), golden::path("densenet_tiny.safetensors")).unwrap();
    let expected = golden::tensors("densenet_tiny_expected.safetensors");
    net.forward(golden::tensor::<4>(&expected["images"], &device));
    weights::save_safetensors(&net, &file).unwrap();
    let bytes = fs::read(file).unwrap();
    let saved = SafeTensors::deserialize(&bytes).unwrap();
    for name in ["features.norm0.running_mean", "features.norm5.running_var"] {
        let found = saved
            .tensor(name)
            .unwrap()
            .data()
            .chunks(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect::<Vec<_>>();
        let found = Tensor::<1>::from_floats(found.as_slice(), &Device::default());
        golden::assert_close(name, found, &expected[&format!("train.buffer.{name}")].1, 1e-4);
    }
}

#[test]
fn a_failed_load_leaves_clones_of_the_network_as_they_were() {
    let net = weights::load(fresh(), golden::path("densenet_tiny.safetensors")).unwrap();
    let before = logits(&net);
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.safetensors");
    weights::save_safetensors(&golden::config().with_bn_size(3).init(&Device::default()), &other).unwrap();
    weights::load(net.clone(), other).unwrap_err();
    assert_eq!(logits(&net), before);
}

#[test]
fn a_load_does_not_reach_clones_of_the_network() {
    let net = fresh();
    let before = logits(&net);
    let loaded = weights::load(net.clone(), golden::path("densenet_tiny.pth")).unwrap();
    assert_eq!(logits(&net), before);
    assert_ne!(logits(&loaded), before);
}

#[test]
fn loading_keeps_the_training_state() {
    let device = Device::default().autodiff();
    let net = weights::load(golden::config().init(&device), golden::path("densenet_tiny.pth")).unwrap();
    assert!(net.features.norm0.training.is_enabled() && net.features.conv0.weight.val().is_require_grad());
    let frozen =
        weights::load(golden::config().init(&device).freeze(), golden::path("densenet_tiny.pth")).unwrap();
    assert!(
        !frozen.features.norm0.training.is_enabled() && !frozen.features.conv0.weight.val().is_require_grad()
    );
}

#[test]
fn another_classifier_is_an_error_and_transfer_keeps_ones_own() {
    let other = DenseNetConfig { num_classes: 5, ..golden::config() }.init(&Device::default());
    let WeightsError::Mismatch { missing, unexpected, mismatched, .. } =
        weights::load(other.clone(), golden::path("densenet_tiny.pth")).unwrap_err()
    else {
        panic!("expected a mismatch")
    };
    assert!(missing.0.is_empty() && unexpected.0.is_empty());
    let features = other.classifier.weight.dims()[0];
    assert_eq!(
        mismatched.0,
        [
            format!("classifier.weight: expected [5, {features}], found [3, {features}]"),
            "classifier.bias: expected [5], found [3]".to_string(),
        ]
    );

    let transferred = weights::load_features(other.clone(), golden::path("densenet_tiny.pth")).unwrap();
    let [own, kept] = [&other, &transferred].map(|net| net.classifier.weight.val().into_data());
    assert_eq!(own, kept);
    let same = weights::load(fresh(), golden::path("densenet_tiny.pth")).unwrap();
    let [features, loaded] = [&same, &transferred].map(|net| net.features.conv0.weight.val().into_data());
    assert_eq!(features, loaded);
}

#[test]
fn missing_and_unexpected_tensors_are_named() {
    let smaller = golden::config().with_block_config(vec![1, 1]).init(&Device::default());
    let error = weights::load(smaller, golden::path("densenet_tiny.pth")).unwrap_err().to_string();
    assert!(
        error.contains("densenet_tiny.pth: expected") && error.contains("missing: 0; unexpected: 10 ("),
        "{error}"
    );
    assert!(error.contains("features.denseblock1.denselayer2.conv1.weight"), "{error}");
    assert!(
        error.contains("features.denseblock2.denselayer1.norm1.weight: expected [5], found [7]"),
        "{error}"
    );
    let larger = golden::config().with_block_config(vec![2, 2]).init(&Device::default());
    let error = weights::load(larger, golden::path("densenet_tiny.pth")).unwrap_err().to_string();
    assert!(error.contains("missing: 10 (features.denseblock2.denselayer2.norm1.weight"), "{error}");
}

#[test]
fn damaged_files_are_errors_that_name_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("damaged.bin");
    let refused = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let error = weights::load(fresh(), &file).unwrap_err();
        assert!(
            matches!(error, WeightsError::Format { .. }) && error.to_string().contains("damaged.bin"),
            "{error}"
        );
    };
    refused(b"");
    refused(b"not a checkpoint");
    refused(b"\x05\0\0\0\0\0\0\0{abcd");
    for whole in ["densenet_tiny.safetensors", "densenet_tiny.pth", "densenet_tiny_checkpoint.pth"] {
        let bytes = fs::read(golden::path(whole)).unwrap();
        for part in [1, 7, 9, 100, bytes.len() / 2, bytes.len() - 1] {
            refused(&bytes[..part]);
        }
    }
    let error = weights::load(fresh(), folder.path().join("absent.pth")).unwrap_err();
    assert!(matches!(error, WeightsError::Io { .. }) && error.to_string().contains("absent.pth"), "{error}");
    let error = weights::save_safetensors(&fresh(), file.join("below a file.safetensors")).unwrap_err();
    assert!(matches!(error, WeightsError::Io { .. }), "{error}");
}
