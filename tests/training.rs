//! Training: what it learns, what it leaves on disk, and that an interrupted run ends as one that was not.
#![cfg(feature = "train")]

mod squares;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use histoguard::data::{FileImage, ImageSet};
use histoguard::defense::GaussianNoise;
use histoguard::prelude::*;
use histoguard::train::{Schedule, TrainError, Trained, Trainer, TrainingConfig};
use image::RgbImage;
use safetensors::SafeTensors;
use squares::{Model, bits, config, model, shades, split};

fn fit(trainer: Trainer) -> Result<Trained<Model>, TrainError> {
    let split = split();
    trainer.fit(model(), &split.train, &split.validation)
}

fn trainer(epochs: usize, directory: &Path) -> Trainer {
    Trainer::new(config(epochs)).objective(GaussianNoise::new(0.05)).directory(directory)
}

fn checkpoints(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory.join("checkpoints")).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Stopped at the first batch of an epoch.
fn stopping(trainer: Trainer, epoch: usize) -> Trainer {
    squares::stopping(trainer, GaussianNoise::new(0.05), epoch)
}

#[test]
fn learns_what_can_be_learned() {
    let folder = tempfile::tempdir().unwrap();
    let trained = fit(trainer(8, folder.path())).unwrap();
    let history = &trained.history.epochs;
    assert_eq!(history.iter().map(|record| record.epoch).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    let best = history[trained.best_epoch - 1];
    assert_eq!(best.validation_accuracy, 1.0, "{history:?}");
    assert!(history[7].train_loss < 0.7 * history[0].train_loss, "{history:?}");

    // The model that comes back is the one of the best epoch, in evaluation mode.
    let victim = Frozen::new(trained.model);
    let test = histoguard::data::Prepared::new(split().validation, 32).unwrap();
    let report = histoguard::evaluate::Evaluation::new(&victim).run(&test).unwrap();
    assert_eq!(report.clean.metrics.accuracy.hits, test.images().len());
}

#[test]
fn a_seed_fixes_the_result_and_another_changes_it() {
    let run = |seed| {
        let config = TrainingConfig { seed, ..config(2) };
        let split = split();
        Trainer::new(config).fit(model(), &split.train, &split.validation).unwrap()
    };
    let (first, again, other) = (run(0), run(0), run(1));
    assert!(bits(&first.model) == bits(&again.model), "same seed, other weights");
    assert_eq!(first.history.epochs, again.history.epochs);
    assert!(bits(&first.model) != bits(&other.model), "the seed has no effect");
}

#[test]
fn a_resumed_run_ends_as_one_that_was_not_interrupted() {
    let [whole, cut] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let straight = fit(stopping(trainer(5, whole.path()), 99)).unwrap();

    let error = fit(stopping(trainer(5, cut.path()), 4)).unwrap_err();
    assert!(matches!(error, TrainError::Interrupted { epoch: 3, epochs: 5 }), "{error}");
    let resumed = fit(stopping(trainer(5, cut.path()), 99).resume(true)).unwrap();
    assert_eq!(straight.history.epochs, resumed.history.epochs);
    assert_eq!(straight.best_epoch, resumed.best_epoch);
    assert!(bits(&straight.model) == bits(&resumed.model), "the resumed run has other weights");
    assert_eq!(checkpoints(whole.path()), checkpoints(cut.path()));

    // A finished run is handed back as it is.
    let again = fit(stopping(trainer(5, cut.path()), 1).resume(true)).unwrap();
    assert!(bits(&again.model) == bits(&resumed.model));
}

#[test]
fn the_cosine_survives_a_resume_and_no_change_of_its_length() {
    let config = TrainingConfig { schedule: Schedule::Cosine, ..config(5) };
    let [whole, cut] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let trainer = |folder: &tempfile::TempDir, stop| {
        stopping(Trainer::new(config.clone()).directory(folder.path()), stop)
    };
    let straight = fit(trainer(&whole, 99)).unwrap();
    fit(trainer(&cut, 3)).unwrap_err();
    let resumed = fit(trainer(&cut, 99).resume(true)).unwrap();
    assert_eq!(straight.history.epochs, resumed.history.epochs);
    let constant =
        fit(Trainer::new(TrainingConfig { schedule: Schedule::Constant, ..config.clone() })).unwrap();
    assert_ne!(straight.history.epochs, constant.history.epochs);

    // The first epochs of a longer cosine are others: it is not the same run.
    let longer = TrainingConfig { epochs: 7, ..config.clone() };
    let error = fit(stopping(Trainer::new(longer).directory(cut.path()), 99).resume(true)).unwrap_err();
    let named = matches!(&error, TrainError::OtherSettings { setting, .. } if setting == "config.epochs");
    assert!(named, "{error}");
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_checkpoint() {
    let whole = tempfile::tempdir().unwrap();
    let straight = fit(trainer(4, whole.path())).unwrap();
    // What a kill can leave of the last epoch: any of its three parts missing, and a file half written.
    for part in ["model", "optimizer", "scheduler"] {
        let cut = tempfile::tempdir().unwrap();
        fit(trainer(4, cut.path())).unwrap();
        std::fs::remove_file(cut.path().join(format!("checkpoints/{part}-4.bpk"))).unwrap();
        std::fs::write(cut.path().join("checkpoints/.partial-x"), b"half").unwrap();
        let resumed = fit(trainer(4, cut.path()).resume(true)).unwrap();
        assert!(bits(&straight.model) == bits(&resumed.model), "without {part}-4");
        assert_eq!(straight.history.epochs, resumed.history.epochs);
    }
}

#[test]
fn keeps_the_last_two_and_the_best() {
    let folder = tempfile::tempdir().unwrap();
    let trained = fit(trainer(6, folder.path())).unwrap();
    let names = checkpoints(folder.path());
    for epoch in [5, 6, trained.best_epoch] {
        for part in ["model", "optimizer", "scheduler"] {
            assert!(names.contains(&format!("{part}-{epoch}.bpk")), "{names:?}");
        }
    }
    // One more may be there: the best of all epochs but the last.
    assert!(names.len() <= 12, "{names:?}");
}

#[test]
fn an_unfinished_run_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    fit(stopping(trainer(5, folder.path()), 3)).unwrap_err();
    let before = checkpoints(folder.path());
    let error = fit(trainer(5, folder.path())).unwrap_err();
    assert!(matches!(error, TrainError::Unfinished { epoch: 2, epochs: 5, .. }), "{error}");
    assert_eq!(before, checkpoints(folder.path()));

    let error =
        fit(Trainer::new(config(5)).objective(GaussianNoise::new(0.2)).directory(folder.path()).resume(true));
    let error = error.unwrap_err();
    let named =
        matches!(&error, TrainError::OtherSettings { setting, .. } if setting == "objective.settings.sigma");
    assert!(named, "{error}");
    assert_eq!(before, checkpoints(folder.path()));
}

#[test]
fn bad_settings_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("run");
    let bad = TrainingConfig { learning_rate: -1.0, ..config(2) };
    let error = fit(Trainer::new(bad).directory(&directory)).unwrap_err();
    assert!(matches!(&error, TrainError::Parameter(error) if error.parameter == "learning_rate"), "{error}");
    let error = fit(trainer(2, &directory).objective(GaussianNoise::new(f64::NAN))).unwrap_err();
    assert!(matches!(error, TrainError::Defense(_)), "{error}");
    assert!(!directory.exists());
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run() {
    let diverging = TrainingConfig { learning_rate: 1e30, ..config(3) };
    let error = fit(Trainer::new(diverging)).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { loss, .. } if !loss.is_finite()), "{error}");
}

#[test]
fn the_callers_model_is_left_alone() {
    let model = model();
    let before = bits(&model);
    let split = split();
    Trainer::new(config(1)).fit(model.clone(), &split.train, &split.validation).unwrap();
    assert!(before == bits(&model.valid()), "training changed a clone's running statistics");
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let whole = tempfile::tempdir().unwrap();
    let straight = fit(trainer(4, whole.path())).unwrap();
    for part in ["model", "optimizer", "scheduler"] {
        let cut = tempfile::tempdir().unwrap();
        fit(trainer(4, cut.path())).unwrap();
        std::fs::write(cut.path().join(format!("checkpoints/{part}-4.bpk")), b"not a checkpoint").unwrap();
        let resumed = fit(trainer(4, cut.path()).resume(true)).unwrap();
        assert!(bits(&straight.model) == bits(&resumed.model), "damaged {part}-4");
    }
}

#[test]
fn a_weight_that_was_changed_on_the_disk_is_no_weight() {
    let whole = tempfile::tempdir().unwrap();
    let straight = fit(trainer(4, whole.path())).unwrap();
    for part in ["model", "optimizer"] {
        let cut = tempfile::tempdir().unwrap();
        fit(trainer(4, cut.path())).unwrap();
        let path = cut.path().join(format!("checkpoints/{part}-4.bpk"));
        let mut bytes = std::fs::read(&path).unwrap();
        // The lowest bit of the last value: a checkpoint as good as any, but for its checksum.
        let last = bytes.len() - 4;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let resumed = fit(trainer(4, cut.path()).resume(true)).unwrap();
        assert!(bits(&straight.model) == bits(&resumed.model), "one bit of {part}-4");
        assert_eq!(straight.history.epochs, resumed.history.epochs);
    }
}

#[test]
fn a_damaged_image_ends_the_run_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut off.png");
    histoguard::data::png::write(&RgbImage::new(40, 40), &path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let mut samples = shades().samples().to_vec();
    samples[7].source = Arc::new(FileImage(path));
    let set = ImageSet::new("squares", vec!["dark".into(), "light".into()], samples).unwrap();
    let error = Trainer::new(config(2)).fit(model(), &set, &split().validation).unwrap_err();
    assert!(matches!(&error, TrainError::Images(message) if message.contains("cut off.png")), "{error}");
}

#[test]
fn other_networks_and_fewer_epochs_cannot_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    fit(trainer(3, folder.path())).unwrap();
    let error = fit(trainer(2, folder.path()).resume(true)).unwrap_err();
    assert!(matches!(&error, TrainError::Parameter(error) if error.parameter == "epochs"), "{error}");

    let wider = DenseNetConfig::densenet121(2)
        .with_growth_rate(8)
        .with_block_config(vec![1, 1])
        .with_num_init_features(8)
        .with_bn_size(2);
    let wider = Normalized::new(wider.init(&Device::default()), Normalization::IMAGENET);
    let split = split();
    let error =
        trainer(3, folder.path()).resume(true).fit(wider, &split.train, &split.validation).unwrap_err();
    let named = matches!(&error, TrainError::OtherSettings { setting, .. } if setting == "weights");
    assert!(named, "{error}");
}

/// The names of the tensors that two checkpoints have different bits of.
fn moved(before: &[u8], after: &[u8]) -> BTreeSet<String> {
    let [before, after] = [before, after].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    let names = before
        .tensors()
        .into_iter()
        .filter_map(|(name, tensor)| (tensor.data() != after.tensor(&name).unwrap().data()).then_some(name));
    names.collect()
}

#[test]
fn frozen_parts_keep_every_bit_and_the_others_move() {
    let split = split();
    let trained = |trainable| {
        let model = model().with_trainable(trainable);
        let trained = Trainer::new(config(2)).fit(model, &split.train, &split.validation).unwrap();
        moved(&bits(&self::model()), &bits(&trained.model))
    };
    let all = trained(Trainable::All);
    let features = |name: &String| {
        let before = ["conv0", "norm0", "denseblock1", "transition1"];
        !before.iter().any(|part| name.starts_with(&format!("features.{part}.")))
    };
    let head: BTreeSet<String> = ["classifier.bias", "classifier.weight"].map(String::from).into();
    assert!(all.contains("features.norm0.running_mean") && all.contains("features.conv0.weight"));
    assert_eq!(trained(Trainable::HeadOnly), head);
    assert_eq!(trained(Trainable::LastBlocks(1)), all.into_iter().filter(features).collect());
}

#[test]
fn a_run_cannot_be_resumed_with_other_parts_frozen() {
    let folder = tempfile::tempdir().unwrap();
    fit(trainer(1, folder.path())).unwrap();
    let split = split();
    let model = model().with_trainable(Trainable::HeadOnly);
    let resumed = trainer(2, folder.path()).resume(true).fit(model, &split.train, &split.validation);
    let error = resumed.unwrap_err();
    let named = matches!(&error, TrainError::OtherSettings { setting, .. } if setting == "weights_trainable");
    assert!(named, "{error}");
}

#[test]
fn empty_sets_are_refused() {
    let split = split();
    let error =
        Trainer::new(config(1)).fit(model(), &split.train, &split.validation.subset(&[])).unwrap_err();
    assert!(matches!(error, TrainError::Empty { side: "validation" }), "{error}");
}
