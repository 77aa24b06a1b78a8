//! Loads the input as a checkpoint.
#![no_main]

use std::cell::LazyCell;
use std::path::PathBuf;

use burn::tensor::Device;
use histoguard::model::{DenseNet, DenseNetConfig};
use histoguard::weights;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

struct Fixture {
    net: DenseNet,
    path: PathBuf,
    _folder: TempDir,
}

thread_local! {
    static FIXTURE: LazyCell<Fixture> = const { LazyCell::new(|| {
        // The network of tests/golden/checkpoints.py.
        let config = DenseNetConfig::new(3).with_growth_rate(4).with_block_config(vec![2, 1]);
        let net = config.with_num_init_features(6).with_bn_size(2).init(&Device::default());
        let folder = tempfile::tempdir().expect("a temporary folder");
        Fixture { net, path: folder.path().join("input"), _folder: folder }
    }) };
}

fuzz_target!(|data: &[u8]| {
    FIXTURE.with(|fixture| {
        std::fs::write(&fixture.path, data).expect("a temporary file");
        let _ = weights::load(fixture.net.clone(), &fixture.path);
    });
});
