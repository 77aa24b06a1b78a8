//! Training on several devices: what is refused, and that it is resumed as on one. The steps themselves are compared with
//! PyTorch's in training_against_pytorch.rs.
#![cfg(feature = "train")]

use std::path::Path;

use histoguard::prelude::*;
use histoguard::train::{DataParallel, SharedOptimizer, TrainError};

fn split() -> Split {
    let images = SyntheticTissue { image_size: [32, 32], count_per_class: 12, ..SyntheticTissue::default() };
    Split::by_image(&images.images().unwrap(), [0.6, 0.2, 0.2], 0).unwrap()
}

fn config(epochs: usize) -> TrainingConfig {
    TrainingConfig { epochs, batch_size: 8, image_size: 32, ..TrainingConfig::paper() }
}

fn net() -> DenseNet {
    let config = DenseNetConfig::new(2).with_growth_rate(4).with_block_config(vec![1, 1, 1, 1]);
    config.with_num_init_features(4).init_seeded(&Device::flex(), 3)
}

fn twice() -> DataParallel {
    DataParallel::new([Device::flex(), Device::flex()])
}

fn trained(trainer: Trainer, folder: &Path, resume: bool) -> Result<String, TrainError> {
    let split = split();
    let trainer = trainer.directory(folder).resume(resume);
    let trained = trainer.fit(net(), &split.train, &split.validation)?;
    Ok(weights::fingerprint(&trained.model).unwrap())
}

#[test]
fn a_resumed_training_ends_with_the_same_weights() {
    for optimizer in [SharedOptimizer::Main, SharedOptimizer::Sharded] {
        let [whole, parts] = [0, 1].map(|_| tempfile::tempdir().unwrap());
        let trainer = |epochs| Trainer::new(config(epochs)).data_parallel(twice().optimizer(optimizer));
        let expected = trained(trainer(3), whole.path(), false).unwrap();
        trained(trainer(1), parts.path(), false).unwrap();
        assert_eq!(trained(trainer(3), parts.path(), true).unwrap(), expected, "{optimizer:?}");
        // Another number of devices is another training.
        let error = trained(Trainer::new(config(4)), parts.path(), true).unwrap_err();
        assert!(
            matches!(&error, TrainError::OtherSettings { setting, .. } if setting.starts_with("devices")),
            "{error}"
        );
    }
}

#[test]
fn what_cannot_be_shared_is_refused_before_any_work() {
    let refused = |devices: DataParallel, config: TrainingConfig| {
        let folder = tempfile::tempdir().unwrap();
        let error = trained(Trainer::new(config).data_parallel(devices), folder.path(), false).unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
        error.to_string()
    };
    let none = refused(DataParallel::new([]), config(1));
    assert_eq!(none, "devices: expected at least 1, found 0");
    let reduced = refused(twice().optimizer(SharedOptimizer::AllReduce), config(1));
    assert!(reduced.starts_with("optimizer: expected AllReduce on NVIDIA GPUs"), "{reduced}");
    let odd = refused(twice(), TrainingConfig { batch_size: 7, ..config(1) });
    assert_eq!(odd, "batch_size: expected a multiple of the 2 devices, found 7");
    let few = refused(twice(), TrainingConfig { batch_size: 64, ..config(1) });
    assert_eq!(few, "training images: expected at least one batch of 64 for 2 devices, found 14");
    // One image a device, of which the last norm sees one value a channel.
    let single = refused(twice(), TrainingConfig { batch_size: 2, ..config(1) });
    assert!(single.starts_with("batch_size over devices: expected at least 2"), "{single}");
}
