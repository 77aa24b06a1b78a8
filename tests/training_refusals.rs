//! What training refuses before any work: labels that mean something else, and steps that cannot teach.
#![cfg(feature = "train")]

// Every test program uses a part of this.
#[allow(unused_imports)]
mod squares;

use burn::module::Module;
use histoguard::data::{ImageSet, Sample};
use histoguard::model::{FineTune, Trainable};
use histoguard::prelude::*;
use histoguard::train::{TrainError, Trainer, TrainingConfig};
use squares::{config, model, shades, split};

/// The squares under classes of these names.
fn under(classes: &[&str]) -> ImageSet {
    let samples: Vec<Sample> = shades().samples().to_vec();
    ImageSet::new("squares", classes.iter().map(ToString::to_string).collect(), samples).unwrap()
}

/// The error of a training, which leaves nothing behind.
fn refused(
    model: squares::Model,
    config: TrainingConfig,
    train: &ImageSet,
    validation: &ImageSet,
) -> TrainError {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("training");
    let error = Trainer::new(config).directory(&directory).fit(model, train, validation).unwrap_err();
    assert!(!directory.exists(), "{error}");
    error
}

#[test]
fn validation_has_the_classes_of_training_in_their_order() {
    let train = under(&["dark", "light", "none"]);
    for validation in [&["light", "dark", "none"][..], &["dark", "light"], &["dark", "light", "none", "more"]]
    {
        let error = refused(model(), config(1), &train, &under(validation));
        assert!(matches!(error, TrainError::Classes { .. }), "{error}");
        let error = error.to_string();
        assert!(
            error.contains(r#"["dark", "light", "none"]"#) && error.contains(&format!("{validation:?}")),
            "{error}"
        );
    }
}

#[test]
fn a_network_has_an_output_for_each_class() {
    for classes in [&["dark", "light", "none"][..], &["dark", "light", "none", "more"]] {
        let images = under(classes);
        let error = refused(model(), config(1), &images, &images);
        assert!(matches!(&error, TrainError::Outputs { outputs: 2, .. }), "{error}");
        assert!(error.to_string().contains(&format!("classes {classes:?}, found 2")), "{error}");
    }
}

/// torchvision's DenseNet with blocks 1-1-1-1 raises "Expected more than 1 value per channel when training"
/// on one image of 29 to 60 pixels, with blocks 1-1 of 5 to 12 pixels, and on no larger one and on no two
/// images.
#[test]
fn one_value_a_channel_is_refused_where_pytorch_raises() {
    for (blocks, least, most) in [(vec![1; 4], 29, 60), (vec![1; 2], 5, 12)] {
        let device = Device::default().autodiff();
        let net =
            DenseNetConfig::new(2).with_growth_rate(4).with_num_init_features(2).with_block_config(blocks);
        let net = net.init(&device);
        assert_eq!(net.min_image_size(), least);
        for (batch, size, raises) in
            [(1, least, true), (1, most, true), (1, most + 1, false), (2, least, false), (2, most, false)]
        {
            assert_eq!(net.min_training_batch(size) > batch, raises, "{batch} of {size} pixels");
            for net in [net.clone(), net.clone().with_kernels(false)] {
                let images = Tensor::ones([batch, 3, size, size], &device);
                let forward = std::panic::AssertUnwindSafe(|| net.forward(images));
                assert_eq!(std::panic::catch_unwind(forward).is_err(), raises, "{batch} of {size} pixels");
            }
        }
        // In evaluation, and where the norms keep their running statistics, one image is as good as many.
        net.valid().forward(Tensor::ones([1, 3, least, least], &Device::default()));
        assert_eq!(net.with_trainable(Trainable::HeadOnly).min_training_batch(least), 1);
    }
}

#[test]
fn a_step_on_one_small_image_is_refused_before_any_work() {
    let split = split();
    let deep = || {
        let net = DenseNetConfig::new(2)
            .with_growth_rate(4)
            .with_num_init_features(8)
            .with_block_config(vec![1; 4]);
        Normalized::new(net.init_seeded(&Device::default(), 3), Normalization::IMAGENET)
    };
    let one = TrainingConfig { batch_size: 1, ..config(1) };
    let error = refused(deep(), one.clone(), &split.train, &split.validation).to_string();
    let expected = "batch_size: expected at least 2 for images of 32 pixels, where batch norm sees one value per \
                    channel of a single image, found 1";
    assert_eq!(error, expected);
    // One image fills no batch of eight.
    let error = refused(deep(), config(1), &split.train.subset(&[0]), &split.validation).to_string();
    assert!(error.starts_with("training images: expected at least 2"), "{error}");
    // A last batch of one image is dropped: 9 images are one step of 8.
    let trained = Trainer::new(config(1)).fit(
        deep(),
        &split.train.subset(&(0..9).collect::<Vec<_>>()),
        &split.validation,
    );
    assert!(trained.unwrap().history.epochs[0].train_loss.is_finite());
    // Two blocks leave 4 x 4 values of one image.
    let few = split.train.subset(&[0, 1, 2, 23]);
    assert!(Trainer::new(one).fit(model(), &few, &split.validation).is_ok());
}
