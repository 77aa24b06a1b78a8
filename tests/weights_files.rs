//! Files of every form that people have, against the logits of the Python network that each was saved from.

mod golden;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use burn::module::Module;
use burn::store::{BurnpackStore, ModuleSnapshot};
use burn::tensor::{Device, Tensor};
use histoguard::classifier::Classifier;
use histoguard::model::{DenseNet, DenseNetConfig, Normalized};
use histoguard::pixels::Normalization;
use histoguard::weights::{self, Checkpoint, Head, Load, WeightsError};
use peak_alloc::PeakAlloc;
use serde::Deserialize;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// An entry of `expected.json`, which checkpoints.py wrote.
#[derive(Deserialize)]
struct Expected {
    config: Config,
    logits: Vec<Vec<f64>>,
}

#[derive(Clone, Deserialize)]
struct Config {
    growth_rate: usize,
    block_config: Vec<usize>,
    num_init_features: usize,
    bn_size: usize,
    num_classes: usize,
    in_channels: usize,
}

impl Config {
    fn of_net(&self) -> DenseNetConfig {
        DenseNetConfig::new(self.num_classes)
            .with_growth_rate(self.growth_rate)
            .with_block_config(self.block_config.clone())
            .with_num_init_features(self.num_init_features)
            .with_bn_size(self.bn_size)
            .with_in_channels(self.in_channels)
    }
}

/// `HISTOGUARD_CHECKPOINTS=FOLDER` checks what `checkpoints.py --full FOLDER` wrote instead.
fn path(file: &str) -> PathBuf {
    std::env::var_os("HISTOGUARD_CHECKPOINTS")
        .map_or_else(|| golden::path("checkpoints"), PathBuf::from)
        .join(file)
}

fn expected() -> BTreeMap<String, Expected> {
    serde_json::from_slice(&fs::read(path("expected.json")).unwrap()).unwrap()
}

fn images() -> Tensor<4> {
    golden::tensor(
        &golden::tensors(path("images.safetensors").to_str().unwrap())["images"],
        &Device::default(),
    )
}

/// TorchXRayVision's own grey conversion: the mean of the channels.
fn grey(images: Tensor<4>) -> Tensor<4> {
    images.mean_dim(1)
}

fn fresh(config: &Config) -> DenseNet {
    config.of_net().init(&Device::default())
}

#[test]
fn every_form_gives_the_logits_of_pytorch() {
    let table = expected();
    assert!(table.len() > 10);
    for (file, Expected { config, logits }) in table {
        let (net, before, start) = (fresh(&config), MEMORY.current_usage(), Instant::now());
        MEMORY.reset_peak_usage();
        let net = weights::load(net, path(&file)).unwrap();
        let (time, memory) = (start.elapsed(), MEMORY.peak_usage().saturating_sub(before));
        println!(
            "{file}: {} bytes, {time:?}, {memory} bytes of memory",
            fs::metadata(path(&file)).unwrap().len()
        );
        let found = match config.in_channels {
            1 => Normalized::new(net, Normalization::TORCHXRAYVISION).logits(grey(images())),
            _ => net.logits(images()),
        };
        assert_eq!(found.dims(), [2, config.num_classes], "{file}");
        golden::assert_close(&file, found, &logits.concat(), 1e-4);
    }
}

#[test]
fn every_form_tells_its_architecture() {
    for (file, Expected { config, .. }) in expected() {
        let found = weights::densenet_config(path(&file)).unwrap();
        assert_eq!(format!("{found:?}"), format!("{:?}", config.of_net()), "{file}");
    }
}

#[test]
fn a_file_in_memory_is_the_file() {
    for (file, Expected { config, .. }) in expected() {
        // The files' parts are beside an index.
        if path(&file).is_dir() || file.ends_with(".json") {
            continue;
        }
        let bytes = fs::read(path(&file)).unwrap();
        let there = weights::load(fresh(&config), path(&file)).unwrap();
        let here = weights::load(fresh(&config), Checkpoint::in_memory(&file, bytes)).unwrap();
        assert_eq!(weights::fingerprint(&here).unwrap(), weights::fingerprint(&there).unwrap(), "{file}");
    }
    let index = br#"{"weight_map":{"a":"model-1.safetensors"}}"#;
    let index = Checkpoint::in_memory("model.safetensors.index.json", *index);
    let error = weights::load(fresh(&expected()["torchvision.pth"].config), index).unwrap_err().to_string();
    assert!(error.contains("an index of other files"), "{error}");
}

#[test]
fn a_grey_network_becomes_an_rgb_network_that_sees_the_mean_of_the_channels() {
    let table = expected();
    for file in ["xrv.pt", "xrv_legacy.pt"] {
        let Expected { config, logits } = &table[file];
        let rgb = Config { in_channels: 3, ..config.clone() };
        let load = Load { grey_to_rgb: true, ..Load::default() };
        let net = load.into_model(fresh(&rgb), path(file)).unwrap();
        let found = Normalized::new(net, Normalization::TORCHXRAYVISION).logits(images());
        golden::assert_close(file, found, &logits.concat(), 1e-4);

        let error = weights::load(fresh(&rgb), path(file)).unwrap_err().to_string();
        assert!(
            error.contains("features.conv0.weight: expected") && error.contains("3, 7, 7], found"),
            "{error}"
        );
        // A grey network stays grey, an RGB file RGB.
        load.into_model(fresh(config), path(file)).unwrap();
        load.into_model(fresh(&table["torchvision.pth"].config), path("torchvision.pth")).unwrap();
    }
}

#[test]
fn a_fresh_head_replaces_that_of_every_form() {
    for (file, Expected { config, .. }) in expected() {
        let load = Load { head: Head::Fresh { classes: 5 }, grey_to_rgb: false };
        let model = Normalized::new(fresh(&config), Normalization::NONE);
        let kept = weights::load(fresh(&config), path(&file)).unwrap();
        let model = load.into_model(model, path(&file)).unwrap();
        assert_eq!(model.num_classes(), 5, "{file}");
        let images = match config.in_channels {
            1 => grey(images()),
            _ => images(),
        };
        let [whole, transferred] = [&kept, &model.network].map(|net| net.embed(images.clone()).into_data());
        assert_eq!(whole, transferred, "{file}");
    }
}

#[test]
fn a_file_whose_head_has_another_name_gives_its_features() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("features.safetensors");
    let bytes = fs::read(path("torchvision.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed = tensors.iter().map(|(name, view)| (name.replace("classifier.", "fc."), view));
    safetensors::serialize_to_file(renamed, None, &file).unwrap();

    let net = fresh(&expected()["torchvision.pth"].config);
    weights::load_features(net.clone(), &file).unwrap();
    let WeightsError::Mismatch { missing, unexpected, .. } = weights::load(net, &file).unwrap_err() else {
        panic!("expected a mismatch")
    };
    assert_eq!(missing.0, ["classifier.weight", "classifier.bias"]);
    assert_eq!(unexpected.0, ["fc.bias", "fc.weight"]);
}

#[test]
fn burns_own_format_is_read_with_and_without_a_wrapper() {
    let folder = tempfile::tempdir().unwrap();
    let table = expected();
    let Expected { config, logits } = &table["torchvision.pth"];
    let net = weights::load(fresh(config), path("torchvision.pth")).unwrap();
    let [bare, wrapped] = ["bare.bpk", "wrapped.bpk"].map(|name| folder.path().join(name));
    net.save_into(&mut BurnpackStore::from_file(&bare)).unwrap();
    let model = Normalized::new(net, Normalization::IMAGENET);
    model.save_into(&mut BurnpackStore::from_file(&wrapped)).unwrap();
    for file in [bare, wrapped] {
        let net = weights::load(fresh(config), &file).unwrap();
        golden::assert_close("burnpack", net.logits(images()), &logits.concat(), 1e-4);
        assert_eq!(
            format!("{:?}", weights::densenet_config(&file).unwrap()),
            format!("{:?}", config.of_net())
        );
        let bytes = Checkpoint::in_memory("dropped.bpk", fs::read(&file).unwrap());
        let dropped = weights::load(fresh(config), bytes).unwrap();
        assert_eq!(weights::fingerprint(&dropped).unwrap(), weights::fingerprint(&net).unwrap());
        let other = DenseNetConfig { num_classes: 4, ..config.of_net() }.init(&Device::default());
        let error = weights::load(other, &file).unwrap_err().to_string();
        assert!(error.contains("classifier.weight"), "{error}");
    }
}

#[test]
fn a_frozen_part_is_still_frozen_after_loading() {
    use histoguard::model::{FineTune, Trainable};
    let config = &expected()["torchvision.pth"].config;
    for device in [Device::default(), Device::default().autodiff()] {
        let net = config.of_net().init(&device).with_trainable(Trainable::HeadOnly);
        let net = weights::load(net, path("torchvision.pth")).unwrap().train();
        assert!(!net.features.norm0.training.is_enabled() && !net.features.conv0.weight.is_require_grad());
        assert!(net.classifier.weight.is_require_grad());
    }
}
