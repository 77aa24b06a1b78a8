//! AdvGAN and AdvGAN++: what their files, resumes and figures promise. Their steps are held against PyTorch
//! in src/attack/generative/against_pytorch.rs.

mod victim;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use histoguard::attack::{
    Access, AdvGan, AdvGanPlusPlus, Distillation, DistilledCopy, GanLosses, GanSchedule, GanTraining,
    GeneratedImage, GeneratedPerturbation, GeneratorNorm, Learned, Settings, UniversalPerturbation,
};
use histoguard::classifier::{FrozenFeatures, Queries};
use histoguard::data::{LabeledImages, Prepared};
use histoguard::evaluate::Fooling;
use histoguard::prelude::*;
use safetensors::{Dtype, SafeTensors};
use victim::{Victim, values};

const COUNT: usize = 10;
const SHAPE: [usize; 3] = [3, 24, 24];

fn budget() -> Budget {
    Budget::pixels(20.0)
}

/// The victims' stripes go on beyond their 16 pixels.
fn images() -> Tensor<4> {
    let images = victim::images(4).narrow(0, 0, COUNT);
    let wider = Tensor::cat(vec![images.clone(), images.narrow(3, 0, 8)], 3);
    Tensor::cat(vec![wider.clone(), wider.narrow(2, 0, 8)], 2)
}

/// The images as a data set would give them, with the victim's own answers.
fn fetch(positions: &[usize]) -> Result<(Tensor<4>, Goal), AttackError> {
    let images = histoguard::rows::take(&images(), positions);
    let goal = Goal::untargeted(victim::victim(4).predict(images.clone()));
    Ok((images, goal))
}

fn schedule() -> GanSchedule {
    // A milestone in the middle, with which Adam begins anew.
    GanSchedule::new().with_epochs(4).with_batch_size(4).with_milestones(vec![3]).with_seed(5)
}

fn small() -> AdvGan {
    AdvGan::new(budget()).with_schedule(schedule()).with_width(4).with_blocks(1)
}

fn small_plus_plus() -> AdvGanPlusPlus {
    AdvGanPlusPlus::new(budget()).with_schedule(schedule()).with_width(4).with_blocks(1).with_noise(3)
}

fn features() -> FrozenFeatures {
    FrozenFeatures::new(Victim::trained(4, &Device::default()))
}

fn bytes(write: impl FnOnce(&Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.safetensors");
    write(&path);
    std::fs::read(path).unwrap()
}

/// Runs the passes in one go, and with a stop, a save and a load after each: both trainings as files.
fn whole_and_broken(
    start: impl Fn() -> GanTraining,
    mut pass: impl FnMut(&Frozen, &mut GanTraining) -> Result<bool, AttackError>,
) -> (GanTraining, [Vec<u8>; 2]) {
    let victim = victim::victim(4);
    let file = |training: &GanTraining| bytes(|path| training.save(path).unwrap());
    let mut whole = start();
    while pass(&victim, &mut whole).unwrap() {}
    assert!(whole.origin().finished);
    assert_eq!((whole.origin().passes, whole.losses().len()), (4, 4));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training.safetensors");
    start().save(&path).unwrap();
    for epoch in 0.. {
        let mut part = GanTraining::load(&path).unwrap();
        assert_eq!((part.origin().passes, part.origin().finished), (epoch, false));
        // Stopped in the middle of an epoch: the epoch counts for nothing.
        let watch = victim.watch().clone();
        victim.watch().on_step(move |step| {
            if step.done % 3 == 1 {
                watch.stop()
            }
        });
        assert_eq!(pass(&victim, &mut part).unwrap_err(), AttackError::Stopped);
        victim.watch().on_step(|_| {});
        victim.watch().resume();
        assert!(file(&part) == std::fs::read(&path).unwrap(), "epoch {epoch}");
        let left = pass(&victim, &mut part).unwrap();
        part.save(&path).unwrap();
        if !left {
            break;
        }
    }
    let files = [file(&whole), std::fs::read(&path).unwrap()];
    assert!(!pass(&victim, &mut whole).unwrap());
    assert!(file(&whole) == files[0]);
    (whole, files)
}

#[test]
fn advgan_that_was_interrupted_goes_on_to_the_same_files() {
    let attack = small();
    let pass = |victim: &Frozen, training: &mut GanTraining| attack.pass(victim, training, COUNT, fetch);
    let (mut training, [whole, broken]) = whole_and_broken(|| attack.start(SHAPE).unwrap(), pass);
    assert!(whole == broken);
    let learned = attack.attack(&training, &Device::default()).unwrap();
    let again = attack.learn(&victim::victim(4), COUNT, fetch).unwrap();
    let file = |attack: &GeneratedPerturbation| bytes(|path| attack.save(path).unwrap());
    assert!(file(&learned) == file(&again));

    // Another seed learns other weights, and does not go on from here; nor do other images.
    let other = attack.clone().with_schedule(schedule().with_seed(6));
    assert!(file(&other.learn(&victim::victim(4), COUNT, fetch).unwrap()) != file(&again));
    let error = other.pass(&victim::victim(4), &mut training, COUNT, fetch).unwrap_err().to_string();
    assert!(error.starts_with("training: expected one of AdvGAN {"), "{error}");
    assert!(other.attack(&training, &Device::default()).is_err());
    let error = attack.pass(&victim::victim(4), &mut training, COUNT - 1, fetch).unwrap_err().to_string();
    assert_eq!(error, "images: expected 10, as in the passes before, found 9");
}

#[test]
fn advgan_plus_plus_that_was_interrupted_goes_on_to_the_same_files() {
    let (attack, features) = (small_plus_plus(), features());
    let pass =
        |victim: &Frozen, training: &mut GanTraining| attack.pass(victim, &features, training, COUNT, fetch);
    let start = || attack.start(&features, SHAPE).unwrap();
    let (training, [whole, broken]) = whole_and_broken(start, pass);
    assert!(whole == broken);
    // Saved and loaded it gives the same images, image by image what it gives together.
    let learned = attack.attack(&training, &features).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("advgan.safetensors");
    learned.save(&path).unwrap();
    let loaded = GeneratedImage::load(&path, &features).unwrap();
    let (images, goal) = fetch(&[3, 4, 5]).unwrap();
    let victim = victim::victim(4);
    let together = |attack: &GeneratedImage, from: u64| {
        let goal = goal.clone().with_indices((from..from + 3).collect());
        values(attack.perturb(&victim, images.clone(), &goal).unwrap())
    };
    assert_eq!(together(&learned, 3), together(&loaded, 3));
    // The noise is the index's.
    assert_ne!(together(&learned, 3), together(&learned, 4));
    // One that cannot look at such images at all is another network too.
    let larger =
        FrozenFeatures::new(DenseNetConfig::new(2).with_block_config(vec![1; 4]).init(&Device::default()));
    let error = GeneratedImage::load(&path, &larger).unwrap_err().to_string();
    assert!(error.contains("at least 29x29 pixels") && error.contains("24x24"), "{error}");
    let another = FrozenFeatures::new(Victim::trained(2, &Device::default()));
    let error = GeneratedImage::load(&path, &another).unwrap_err().to_string();
    assert!(error.contains("expected the network whose 16 features it was learned from"), "{error}");
    let error = GeneratedPerturbation::load(&path, &Device::default()).unwrap_err().to_string();
    assert!(
        error.contains("expected a generated perturbation that this crate wrote, found a generated image")
    );
    // Whatever it is, it is for images as those that it was learned from, and what is beside it is no attack.
    let any = Learned::load(&path, &Device::default(), std::slice::from_ref(&features)).unwrap();
    let error = any.for_images([3, 32, 32]).unwrap_err().to_string();
    assert!(error.contains("expected images of 3x24x24, as it was learned from, found 3x32x32"), "{error}");
    training.save(&path).unwrap();
    let error = Learned::load(&path, &Device::default(), &[]).unwrap_err().to_string();
    assert!(
        error.contains("expected an attack that was learned, found a training of a generative"),
        "{error}"
    );
}

/// A network of the victim's form that has learned nothing.
fn blank() -> Victim {
    Victim::untrained(4, &Device::default())
}

#[test]
fn a_black_box_is_asked_for_its_answers_alone_and_resumed_to_the_same_files() {
    let victim = victim::victim(4);
    let distillation = Distillation::new().with_epochs(30).with_batch_size(5).with_learning_rate(0.01);
    let mut copy = DistilledCopy::new(blank(), distillation, SHAPE).unwrap();
    let before = copy.agreement(&victim, images());
    let asked = victim.watch().queries();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.safetensors");
    while copy.pass(&victim, COUNT, fetch).unwrap() {
        copy.save(&path).unwrap();
        copy = DistilledCopy::new(blank(), distillation, SHAPE).unwrap().load(&path).unwrap();
    }
    assert_eq!(victim.watch().queries() - asked, Queries::forwards(30 * COUNT));
    let after = copy.agreement(&victim, images());
    assert!(after >= 0.9 && after > before, "{before} to {after}");

    let attack = small();
    let pass = |victim: &Frozen, training: &mut GanTraining| {
        // The copy in the training counts, whatever this one has learned.
        let mut copy = copy.clone();
        let (before, asked) = (training.origin().passes, victim.watch().queries());
        let left = attack.pass_black_box(victim, &mut copy, training, COUNT, fetch)?;
        let passed = training.origin().passes - before;
        assert_eq!(victim.watch().queries() - asked, Queries::forwards(2 * COUNT * passed));
        Ok(left)
    };
    let (training, [whole, broken]) =
        whole_and_broken(|| attack.start_black_box(&copy, SHAPE).unwrap(), pass);
    assert!(whole == broken);
    let learned = attack.attack(&training, &Device::default()).unwrap();
    assert_eq!(learned.profile().name, "AdvGAN by distillation");
    // The white box does not go on with it.
    let error = attack.pass(&victim, &mut training.clone(), COUNT, fetch).unwrap_err().to_string();
    assert!(error.starts_with("training: expected one of AdvGAN {"), "{error}");
    let other = Victim::untrained(2, &Device::default());
    let mut other = DistilledCopy::new(other, distillation, SHAPE).unwrap();
    let error = other.pass(&victim, COUNT, fetch).unwrap_err().to_string();
    assert_eq!(error, "classes of the copy: expected 4, as the victim's, found 2");
}

#[test]
fn a_file_has_the_names_of_pytorchs_generator_and_gives_the_same_bits() {
    let attack = small().with_blocks(2);
    let learned = attack.attack(&attack.start(SHAPE).unwrap(), &Device::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("advgan.safetensors");
    learned.save(&path).unwrap();
    let names = |bytes: &[u8], prefix: &str| -> BTreeSet<String> {
        let file = SafeTensors::deserialize(bytes).unwrap();
        file.names().into_iter().filter_map(|name| name.strip_prefix(prefix)).map(str::to_string).collect()
    };
    let golden = format!("{}/tests/golden/attacks/generative.safetensors", env!("CARGO_MANIFEST_DIR"));
    let golden = std::fs::read(golden).unwrap();
    assert_eq!(names(&std::fs::read(&path).unwrap(), ""), names(&golden, "generator."));
    let normed = attack.clone().with_norm(GeneratorNorm::Batch);
    let normed = normed.attack(&normed.start(SHAPE).unwrap(), &Device::default()).unwrap();
    let file = bytes(|path| normed.save(path).unwrap());
    assert_eq!(names(&file, ""), names(&golden, "batch_norm_generator."));
    let loaded = GeneratedPerturbation::load(&path, &Device::default()).unwrap();
    assert_eq!(loaded.settings(), learned.settings());
    let victim = victim::victim(4);
    let (images, goal) = fetch(&[0, 1, 2]).unwrap();
    let found = |attack: &dyn Attack| attack.perturb(&victim, images.clone(), &goal).unwrap();
    assert_eq!(values(found(&loaded)), values(found(&learned)));
    let profile = loaded.profile();
    assert_eq!((profile.name.as_str(), profile.access), ("AdvGAN", Access::Learned));
    // Half the budget is half the output; other norms and shapes are refused before any work.
    let whole = values(loaded.change(images.clone()));
    let half: Vec<f32> = whole.iter().map(|value| value / 2.0).collect();
    let moved = values(found(&*loaded.at(Budget::pixels(10.0))));
    for ((moved, x), half) in moved.iter().zip(values(images.clone())).zip(half) {
        assert!((moved - (x + half).clamp(0.0, 1.0)).abs() < 1e-6);
    }
    let refused =
        |attack: &dyn Attack, images| attack.perturb(&victim, images, &goal).unwrap_err().to_string();
    assert_eq!(refused(&*loaded.at(Budget::l2(1.0)), images.clone()), "norm: expected Linf, found L2");
    let error = refused(&loaded, images.narrow(3, 0, 16));
    assert_eq!(error, "image shape: expected images of 3x24x24, as it was learned from, found 3x24x16");
}

/// A file of a generator after this has been done to its metadata and the values of a tensor.
fn damaged(
    change: impl FnOnce(&mut HashMap<String, String>, &mut Vec<f32>),
) -> Result<GeneratedPerturbation, histoguard::attack::StoredError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("advgan.safetensors");
    small().attack(&small().start(SHAPE).unwrap(), &Device::default()).unwrap().save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut metadata = header.metadata().clone().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let bias = file.tensor("encoder.0.bias").unwrap();
    let mut floats: Vec<f32> =
        bias.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    change(&mut metadata, &mut floats);
    let data: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(Dtype::F32, vec![floats.len()], &data).unwrap();
    let mut tensors: Vec<_> = file.iter().filter(|(name, _)| *name != "encoder.0.bias").collect();
    tensors.push(("encoder.0.bias", view));
    std::fs::write(&path, safetensors::serialize(tensors, Some(metadata)).unwrap()).unwrap();
    GeneratedPerturbation::load(&path, &Device::default())
}

fn replace(metadata: &mut HashMap<String, String>, from: &str, to: &str) {
    let label = metadata["histoguard"].replacen(from, to, 1);
    assert_ne!(label, metadata["histoguard"]);
    metadata.insert("histoguard".into(), label);
}

#[test]
fn broken_files_are_refused_by_name() {
    assert!(damaged(|_, _| {}).is_ok());
    type Damage = fn(&mut HashMap<String, String>, &mut Vec<f32>);
    let cases: [(Damage, &str); 8] = [
        (|_, bias| bias[1] = f32::NAN, "found NaN in encoder.0.bias"),
        (|_, bias| bias[1] += 0.5, "expected weights whose SHA-256 is "),
        (|_, bias| bias.push(0.0), "expected a tensor encoder.0.bias of shape [4], found [5]"),
        (
            |metadata, _| replace(metadata, r#""blocks":1"#, r#""blocks":2"#),
            "expected a tensor bottle_neck.1.conv_block.1.weight of shape [16, 16, 3, 3], found none",
        ),
        (
            |metadata, _| replace(metadata, r#""blocks":1"#, r#""blocks":1000000000"#),
            "generator: expected sizes of a network with ",
        ),
        (
            |metadata, _| replace(metadata, "[3,24,24]", "[3,24,25]"),
            "image shape: expected height and width divisible by 4 and at least 16, found 24x25",
        ),
        (
            |metadata, _| replace(metadata, "generated perturbation", "universal perturbation"),
            "found a universal perturbation",
        ),
        (|metadata, _| metadata.clear(), "found safetensors of something else"),
    ];
    for (damage, said) in cases {
        let error = damaged(damage).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("advgan.safetensors"), "{error}");
    }
    // A training in which a bit has changed is none.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training.safetensors");
    small().start(SHAPE).unwrap().save(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = GanTraining::load(&path).unwrap_err().to_string();
    assert!(error.contains("training.safetensors: expected tensors whose SHA-256 is "), "{error}");
}

#[test]
fn settings_out_of_their_ranges_are_refused_before_any_work() {
    let refused = |attack: AdvGan| attack.start(SHAPE).unwrap_err().to_string();
    let (losses, schedule) = (GanLosses::new(), GanSchedule::new());
    for (attack, said) in [
        (AdvGan::new(Budget::l2(1.0)), "norm: expected Linf, found L2"),
        (AdvGan::new(Budget::pixels(0.0)), "budget: expected a finite number above 0, found 0"),
        (small().with_width(0), "width: expected at least 1, found 0"),
        (small().with_blocks(0), "blocks: expected at least 1, found 0"),
        (
            small().with_losses(losses.with_alpha(-1.0)),
            "alpha: expected a finite number of at least 0, found -1",
        ),
        (
            small().with_losses(losses.with_c(Some(f64::NAN))),
            "c: expected a finite number of at least 0, found NaN",
        ),
        (
            small().with_losses(losses.with_kappa(-1.0)),
            "kappa: expected a finite number of at least 0, found -1",
        ),
        (small().with_schedule(schedule.clone().with_epochs(0)), "epochs: expected at least 1, found 0"),
        (
            small().with_schedule(schedule.with_milestones(vec![0])),
            "milestones: expected at least 1, found 0",
        ),
    ] {
        assert_eq!(refused(attack), said);
    }
    for shape in [[3, 26, 24], [3, 20, 24]] {
        let error = small().start(shape).unwrap_err().to_string();
        assert!(error.starts_with("image shape: expected height and width divisible by 4 and at least 24"));
    }
    assert!(small().start([0, 24, 24]).unwrap_err().to_string().starts_with("channels: expected at least 1"));
}

/// A network that has learned to tell drawn tissue, and the images that it has not seen.
fn tissue() -> (Victim, Prepared, Prepared) {
    let drawn = SyntheticTissue { image_size: [64, 64], count_per_class: 60, slides_per_class: 12, seed: 1 };
    let split = Split::by_image(&drawn.images().unwrap(), [0.6, 0.1, 0.3], 0).unwrap();
    let train = Prepared::new(split.train, 64).unwrap();
    let test = Prepared::new(split.test, 64).unwrap();
    let device = Device::default().autodiff();
    let mut network = Victim::untrained(2, &Device::default()).train().fork(&device);
    let mut adam = AdamConfig::new().init();
    let all: Vec<usize> = (0..train.len()).collect();
    let batch = train.batch(&all, &device).unwrap();
    for step in 0..150 {
        let rows: Vec<usize> = (0..15).map(|i| (step * 37 + i * 6) % train.len()).collect();
        let labels: Vec<i64> = rows.iter().map(|&row| train.label(row) as i64).collect();
        let logits = network.logits(histoguard::rows::take(&batch.images, &rows));
        let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &device);
        let loss = CrossEntropyLossConfig::new().init(&device).forward(logits, labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = adam.step(0.01, network, gradients);
    }
    (network.valid(), train, test)
}

#[test]
fn learned_on_drawn_tissue_both_break_more_of_other_images_than_a_random_perturbation() {
    let (network, train, test) = tissue();
    let (victim, features) = (Frozen::new(network.clone()), FrozenFeatures::new(network));
    let budget = Budget::pixels(8.0);
    let images = |positions: &[usize]| -> Result<(Tensor<4>, Goal), AttackError> {
        let batch =
            train.batch(positions, &Device::default()).map_err(|e| AttackError::Other(e.to_string()))?;
        Ok((batch.images, Goal::untargeted(batch.labels)))
    };
    let schedule = GanSchedule::new().with_epochs(15).with_batch_size(12).with_learning_rate(0.003);
    let advgan = AdvGan::new(budget).with_schedule(schedule.clone());
    let advgan = advgan.learn(&victim, train.len(), images).unwrap();
    let plus_plus = AdvGanPlusPlus::new(budget).with_schedule(schedule);
    let plus_plus = plus_plus.learn(&victim, &features, train.len(), images).unwrap();
    let broken = |attack: &dyn Attack| Fooling::of(&victim, attack, &test, 16).unwrap().broken;
    let random = UniversalPerturbation::random(budget, [3, 64, 64], 0, &Device::default()).unwrap();
    let [random, advgan, plus_plus, pgd] =
        [&random as &dyn Attack, &advgan, &plus_plus, &Pgd::new(budget).with_steps(10)].map(broken);
    let said = format!("random {random}, AdvGAN {advgan}, AdvGAN++ {plus_plus}, PGD {pgd}");
    assert!(random.total >= 20, "{said}");
    for learned in [advgan, plus_plus] {
        assert!(learned.hits >= random.hits + 3, "{said}");
    }
}
