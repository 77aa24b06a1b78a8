//! Adversarial training: resumed runs, crafting, moved weights, validation under attack, and the end of a run
//! that overfits.
#![cfg(feature = "train")]

mod squares;

use std::path::Path;

use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::train::Interrupter;
use histoguard::data::{LabeledImages, Prepared};
use histoguard::defense::{DefenseError, Loss, Step, Trainee, cross_entropy};
use histoguard::parameter::{Parameter, check};
use histoguard::prelude::*;
use histoguard::rows::values;
use histoguard::train::{Optimizer, TrainError, Trained};
use safetensors::SafeTensors;
use serde::Serialize;
use squares::{Model, bits, config, model, split, stopping};

const BUDGET: Budget = Budget::pixels(8.0);

fn fit(trainer: Trainer) -> Result<Trained<Model>, TrainError> {
    let split = split();
    trainer.fit(model(), &split.train, &split.validation)
}

/// A network that was trained before, whatever it learned.
fn other() -> Frozen {
    let net = DenseNetConfig::densenet121(2)
        .with_growth_rate(4)
        .with_block_config(vec![1])
        .with_num_init_features(8)
        .with_bn_size(2);
    Frozen::new(Normalized::new(net.init_seeded(&Device::default(), 9), Normalization::IMAGENET))
}

/// Every objective beside its source.
fn objectives() -> Vec<(Box<dyn Objective>, &'static str)> {
    let pgd = PgdAt::new(BUDGET).with_steps(2);
    let trades = Trades::new(BUDGET).with_steps(2);
    let fgsm_source = include_str!("../src/defense/objective/fgsm_rs.rs");
    let awp_source = include_str!("../src/defense/objective/awp.rs");
    vec![
        (FgsmRs::new(BUDGET).into(), fgsm_source),
        (FgsmRs::new(BUDGET).with_crafting(Crafting::Training).into(), fgsm_source),
        (pgd.into(), include_str!("../src/defense/objective/pgd_at.rs")),
        (trades.into(), include_str!("../src/defense/objective/trades.rs")),
        (Awp::new(pgd).into(), awp_source),
        (Awp::new(trades).with_gamma(0.005).with_warm_up(1).into(), awp_source),
        (
            EnsembleAt::new(BUDGET, [("other", other())]).into(),
            include_str!("../src/defense/objective/ensemble_at.rs"),
        ),
    ]
}

#[test]
fn resumed_runs_end_as_those_that_were_not_interrupted() {
    for number in 0..objectives().len() {
        let run = |folder: &Path, epoch, resume| {
            let (objective, _) = objectives().remove(number);
            let trainer = Trainer::new(config(3)).validation_attack(Pgd::new(BUDGET).with_steps(2));
            fit(stopping(trainer, objective, epoch).directory(folder).resume(resume))
        };
        let shown = objectives().remove(number).0;
        let [whole, cut] = [0, 1].map(|_| tempfile::tempdir().unwrap());
        let straight = run(whole.path(), 99, false).unwrap();
        let error = run(cut.path(), 3, false).unwrap_err();
        assert!(matches!(error, TrainError::Interrupted { epoch: 2, epochs: 3 }), "{shown:?}: {error}");
        let resumed = run(cut.path(), 99, true).unwrap();
        assert_eq!(straight.history.epochs, resumed.history.epochs, "{shown:?}");
        assert!(bits(&straight.model) == bits(&resumed.model), "{shown:?}: other weights");
        assert!(straight.history.epochs.iter().all(|epoch| epoch.attacked.is_some()), "{shown:?}");
    }
}

#[test]
fn settings_tell_wrapped_objectives_apart() {
    let awp = |steps| Awp::new(PgdAt::new(BUDGET).with_steps(steps)).with_gamma(0.02);
    let written = serde_json::to_value(Box::<dyn Objective>::from(awp(3))).unwrap();
    assert_eq!(written["objective"], "PGD-AT-AWP");
    assert_eq!(written["settings"]["gamma"], 0.02);
    assert_eq!(written["settings"]["objective"]["objective"], "PGD-AT");
    assert_eq!(written["settings"]["objective"]["settings"]["steps"], 3);

    let folder = tempfile::tempdir().unwrap();
    fit(Trainer::new(config(1)).objective(awp(2)).directory(folder.path())).unwrap();
    let resumed = Trainer::new(config(2)).objective(awp(3)).directory(folder.path()).resume(true);
    let error = fit(resumed).unwrap_err();
    let inner = "objective.settings.objective.settings.steps";
    assert!(matches!(&error, TrainError::OtherSettings { setting, .. } if setting == inner), "{error}");

    let models = |name: &str| EnsembleAt::new(BUDGET, [(name, other())]);
    let written = serde_json::to_value(Box::<dyn Objective>::from(models("a"))).unwrap();
    assert_eq!(written["settings"]["models"], serde_json::json!(["a"]));
}

/// Name and range of each row of the table of parameters in a type's documentation.
fn table(source: &str) -> Vec<[String; 2]> {
    let lines = source.lines().skip_while(|line| *line != "/// | parameter | default | range |");
    let rows = lines.map_while(|line| line.strip_prefix("/// |")?.strip_suffix('|'));
    let cell = |row: &str, cell: usize| row.split('|').nth(cell).unwrap().trim().to_string();
    rows.map(|row| [cell(row, 0), cell(row, 2)]).collect()
}

#[test]
fn documented_ranges_are_the_ones_that_are_checked() {
    for (objective, source) in objectives() {
        let rows = table(source);
        // A wrapper's table has the wrapper's own parameters.
        let own = if objective.name().ends_with("AWP") { 1 } else { usize::MAX };
        for parameter in objective.parameters().iter().take(own) {
            let (name, range) = (parameter.name(), parameter.range());
            let documented = rows.iter().any(|row| row[0].starts_with(name) && row[1].contains(range));
            assert!(documented, "{}: no row `| {name} | .. | {range} |` in {rows:?}", objective.name());
        }
    }
}

#[test]
fn bad_settings_are_refused_before_anything_is_written() {
    let bad = Budget::linf(Epsilon::unit(f64::NAN));
    let zero = Some(Epsilon::ZERO);
    let refused: Vec<(&str, Box<dyn Objective>)> = vec![
        ("budget", FgsmRs::new(bad).into()),
        ("norm", FgsmRs::new(Budget::l2(1.0)).into()),
        ("step size", FgsmRs::new(BUDGET).with_step_size(zero).into()),
        ("budget", PgdAt::new(bad).into()),
        ("norm", PgdAt::new(Budget::l1(1.0)).into()),
        ("steps", PgdAt::new(BUDGET).with_steps(0).into()),
        ("step size", PgdAt::new(BUDGET).with_step_size(zero).into()),
        ("budget", Trades::new(bad).into()),
        ("norm", Trades::new(Budget::l2(1.0)).into()),
        ("beta", Trades::new(BUDGET).with_beta(-1.0).into()),
        ("beta", Trades::new(BUDGET).with_beta(f64::NAN).into()),
        ("steps", Trades::new(BUDGET).with_steps(0).into()),
        ("gamma", Awp::new(PgdAt::new(BUDGET)).with_gamma(f64::NAN).into()),
        ("steps", Awp::new(PgdAt::new(BUDGET).with_steps(0)).into()),
        ("budget", EnsembleAt::new(bad, [("other", other())]).into()),
        ("norm", EnsembleAt::new(Budget::l2(1.0), [("other", other())]).into()),
        ("models", EnsembleAt::new::<&str>(BUDGET, []).into()),
    ];
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("run");
    for (name, objective) in refused {
        let shown = format!("{objective:?}");
        let error = check(objective.parameters()).unwrap_err();
        assert_eq!(error.parameter, name, "{shown}");
        let error = fit(Trainer::new(config(1)).objective(objective).directory(&directory)).unwrap_err();
        assert!(matches!(error, TrainError::Defense(DefenseError::Parameter(_))), "{shown}: {error}");
        assert!(!directory.exists());
    }
}

/// Images of the squares, as a step has them.
fn batch(positions: &[usize]) -> Batch {
    let squares = Prepared::new(squares::shades(), 32).unwrap();
    Batch { epoch: 3, ..squares.batch(positions, &Device::default().autodiff()).unwrap() }
}

#[test]
fn an_image_is_crafted_alike_in_any_batch() {
    let network = model().train().fork(&Device::default().autodiff());
    let evaluation: [Box<dyn Objective>; 4] = [
        FgsmRs::new(BUDGET).into(),
        PgdAt::new(BUDGET).into(),
        Trades::new(BUDGET).into(),
        Awp::new(PgdAt::new(BUDGET)).into(),
    ];
    for objective in evaluation {
        let crafted = |positions: &[usize]| {
            let batch = batch(positions);
            let crafted = values(objective.craft(&Step::new(&network, &batch)).unwrap());
            assert_ne!(crafted, values(batch.images), "{objective:?}");
            crafted
        };
        let together = crafted(&[4, 7, 9]);
        let alone = [crafted(&[4]), crafted(&[9, 7])];
        let size = alone[0].len();
        assert!(together[..size] == alone[0], "{objective:?}");
        assert!(together[size..2 * size] == alone[1][size..], "{objective:?}");
        assert!(together[2 * size..] == alone[1][..size], "{objective:?}");
    }
}

#[test]
fn steps_start_from_the_weights_as_they_were() {
    let weights = |bytes: &[u8]| -> Vec<f32> {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let mut own: Vec<_> = file.tensors();
        own.retain(|(name, _)| !name.contains("running") && !name.contains("num_batches"));
        own.sort_by(|a, b| a.0.cmp(&b.0));
        let data = own.iter().flat_map(|(_, view)| view.data().chunks_exact(4));
        data.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    };
    // Too slow to change any bit but those of zeros: AWP moves each layer by a tenth of its norm in between.
    let still = TrainingConfig {
        learning_rate: 1e-30,
        optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 },
        ..config(1)
    };
    let awp = |gamma| Awp::new(FgsmRs::new(BUDGET)).with_gamma(gamma);
    let trained = fit(Trainer::new(still.clone()).objective(awp(0.1))).unwrap();
    let (ended, began) = (weights(&bits(&trained.model)), weights(&bits(&model())));
    assert!(ended.len() > 1000 && ended.len() == began.len());
    assert!(ended.iter().zip(&began).all(|(ended, began)| (ended - began).abs() < 1e-25));
    // The training pass is that of the moved weights.
    let plain = fit(Trainer::new(still).objective(awp(0.0))).unwrap();
    assert!(trained.history.epochs[0].train_loss > plain.history.epochs[0].train_loss + 0.01);
}

#[test]
fn epochs_are_chosen_by_the_accuracy_that_the_attack_leaves() {
    let default = fit(Trainer::new(config(3)).objective(FgsmRs::new(BUDGET))).unwrap();
    let named =
        fit(Trainer::new(config(3)).objective(FgsmRs::new(BUDGET)).validation_attack(Pgd::new(BUDGET)))
            .unwrap();
    assert_eq!(default.history.epochs, named.history.epochs);

    // A budget at which some images fall and some stand.
    let attack = Pgd::new(Budget::pixels(24.0)).with_steps(5).with_seed(4);
    let trainer = Trainer::new(config(4)).objective(FgsmRs::new(BUDGET)).validation_attack(attack);
    let trained = fit(trainer).unwrap();
    let chosen = trained.history.epochs[trained.best_epoch - 1];
    let most =
        trained.history.epochs.iter().map(|epoch| epoch.attacked.unwrap().accuracy).fold(0.0, f64::max);
    assert_eq!(chosen.attacked.unwrap().accuracy, most);

    let victim = Frozen::new(trained.model);
    let validation = Prepared::new(split().validation, 32).unwrap();
    let positions: Vec<usize> = (0..validation.len()).collect();
    let Batch { images, labels, indices, .. } = validation.batch(&positions, victim.device()).unwrap();
    let labels: Vec<usize> = labels.into_data().iter::<i64>().map(|label| label as usize).collect();
    let goal = Goal::untargeted(labels.clone()).with_indices(indices);
    let right = |images: Tensor<4>| -> Vec<bool> {
        victim.predict(images).iter().zip(&labels).map(|(predicted, label)| predicted == label).collect()
    };
    let share = |flags: &[bool]| flags.iter().filter(|flag| **flag).count() as f64 / flags.len() as f64;
    let clean = right(images.clone());
    let attacked = right(attack.perturb(&victim, images.clone(), &goal).unwrap());
    let both: Vec<bool> = clean.iter().zip(attacked).map(|(clean, attacked)| *clean && attacked).collect();
    let stepped = right(Fgsm::new(attack.budget).perturb(&victim, images, &goal).unwrap());
    let recorded = chosen.attacked.unwrap();
    assert_eq!(chosen.validation_accuracy, share(&clean));
    assert_eq!(recorded.accuracy, share(&both));
    assert_eq!(recorded.fgsm_accuracy, share(&stepped));
    assert!(recorded.alignment.is_some_and(|cosine| (-1.0..=1.0).contains(&cosine)), "{recorded:?}");
}

/// Brightness, and waves of it that are too short for a gradient to be good for more than a short way.
#[derive(Module, Debug)]
struct Wavy {
    slope: Param<Tensor<1>>,
    waves: Param<Tensor<1>>,
}

impl Classifier for Wavy {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        let mean = |images: Tensor<4>| images.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
        let bright = mean(images.clone() - 0.5) * self.slope.val().reshape([1, 1]);
        let score = bright + mean((images * 100.0).sin()) * self.waves.val().reshape([1, 1]);
        Tensor::cat(vec![score.clone().neg(), score], 1)
    }

    fn num_classes(&self) -> usize {
        2
    }
}

/// Training on noise, in which waves average out; then whatever makes an image's scores differ most from its
/// neighbors'.
#[derive(Debug, Serialize)]
struct Breaks {
    after: usize,
}

impl Objective for Breaks {
    fn name(&self) -> String {
        "breaks".into()
    }

    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    fn craft(&self, step: &Step<'_>) -> Result<Tensor<4>, DefenseError> {
        GaussianNoise::new(0.05).craft(step)
    }

    fn loss(&self, network: &dyn Trainee, batch: &Batch, crafted: Tensor<4>) -> Loss {
        if batch.epoch <= self.after {
            return cross_entropy(network, crafted, batch.labels.clone());
        }
        let logits = network.logits(batch.images.clone());
        let apart = (network.logits(crafted) - logits.clone()).abs().mean();
        Loss { value: apart * -1000.0, logits }
    }

    fn budget(&self) -> Option<Budget> {
        Some(Budget::pixels(16.0))
    }
}

#[test]
fn a_run_that_overfits_ends_and_goes_back_to_the_epoch_before() {
    let device = Device::default();
    let network = || Wavy {
        slope: Param::from_tensor(Tensor::from_floats([8.0], &device)),
        waves: Param::from_tensor(Tensor::from_floats([0.0], &device)),
    };
    let (folder, interrupter) = (tempfile::tempdir().unwrap(), Interrupter::new());
    let settings = TrainingConfig {
        learning_rate: 0.01,
        optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 },
        augmentation: None,
        ..config(6)
    };
    let run = |resume| {
        let trainer = Trainer::new(settings.clone()).objective(Breaks { after: 2 }).directory(folder.path());
        let split = split();
        trainer.interrupter(interrupter.clone()).resume(resume).fit(
            network(),
            &split.train,
            &split.validation,
        )
    };
    let trained = run(false).unwrap();
    let overfitting = trained.history.overfitting().expect("the third epoch breaks it");
    let shown = format!("{:?}", trained.history.epochs);
    assert_eq!((overfitting.epoch, trained.best_epoch, trained.history.epochs.len()), (3, 2, 3), "{shown}");
    assert!(overfitting.before == 1.0 && overfitting.after < 0.5 && overfitting.gradients_turned, "{shown}");
    let waves = |model: &Wavy| values(model.waves.val())[0];
    assert!(waves(&trained.model).abs() < 0.5, "{}", waves(&trained.model));
    assert!(!interrupter.should_stop(), "the handle is its owner's");

    let again = run(true).unwrap();
    assert_eq!((again.best_epoch, waves(&again.model)), (2, waves(&trained.model)));
    assert_eq!(again.history, trained.history);
    // It has ended, so that a new run may take its place.
    assert_eq!(run(false).unwrap().history.epochs, trained.history.epochs);
}

/// A network whose first layer is batch norm: nothing before it carries weights.
#[derive(Module, Debug)]
struct NormFirst {
    norm: BatchNorm,
    weight: Param<Tensor<2>>,
}

impl Classifier for NormFirst {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        let [batch, channels, ..] = images.dims();
        self.norm.forward(images).mean_dims(&[2, 3]).reshape([batch, channels]).matmul(self.weight.val())
    }

    fn num_classes(&self) -> usize {
        2
    }
}

#[test]
fn crafted_images_meet_batch_norm_in_training_mode() {
    let device = Device::default();
    let network = NormFirst {
        norm: BatchNormConfig::new(3).init(&device),
        weight: Param::from_tensor(Tensor::from_floats([[-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]], &device)),
    };
    let split = split();
    let trainer = Trainer::new(config(1)).objective(FgsmRs::new(BUDGET));
    let trained = trainer.fit(network, &split.train, &split.validation).unwrap();
    // Three steps of a tenth of the way from 0 to the images' brightness, which is about 0.5.
    let mean = values(trained.model.norm.running_mean.value_sync());
    assert!(mean.iter().all(|mean| (0.05..0.25).contains(mean)), "{mean:?}");
}
