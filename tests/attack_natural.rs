//! Natural adversarial examples: what their files, resumes, refusals and results promise. A training step and
//! both searches are held against PyTorch and NumPy in
//! src/attack/generative/natural/against_references.rs.

mod victim;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use burn::tensor::{Device, Tensor};
use histoguard::attack::{
    Access, Aim, GanSchedule, Inverter, LatentConfig, LatentGenerator, Learned, Natural, NaturalOutcome,
    Origin, ReconstructionLimits, Settings, ShellOrder, ShellSearch, StoredError, Wgan, WganTraining,
};
use histoguard::data::TensorSet;
use histoguard::prelude::*;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use victim::{labels, values};

const COUNT: usize = 10;
const SHAPE: [usize; 3] = [3, 16, 16];

/// The images as a data set would give them.
fn fetch(positions: &[usize]) -> Result<(Tensor<4>, Goal), AttackError> {
    let images = histoguard::rows::take(&victim::images(4), positions);
    let labels: Vec<usize> = positions.iter().map(|&position| labels(4)[position]).collect();
    Ok((images, Goal::untargeted(labels)))
}

fn small() -> Wgan {
    // Batches of 4, 4 and 2: the generator's turn comes at other places of every epoch. Adam begins anew in
    // the third, and the inverter is alone in the last.
    let schedule = GanSchedule::new().with_epochs(5).with_batch_size(4).with_milestones(vec![3]).with_seed(5);
    Wgan::new().with_latent(3).with_width(2).with_critic_steps(2).with_settling(1).with_schedule(schedule)
}

/// Takes any reconstruction.
fn any() -> ReconstructionLimits {
    ReconstructionLimits { largest_error: 1e9, least_kept: 0.0 }
}

fn search() -> ShellSearch {
    ShellSearch::new().with_samples(30).with_step(0.25).with_patience(2).with_seed(3)
}

/// Networks that have learned nothing but to be told apart: their images are of several classes.
fn attack() -> Natural {
    let networks = LatentConfig::new(SHAPE).with_latent(4).with_width(2);
    let generator = LatentGenerator::init(networks, &Device::default(), 1).unwrap();
    let inverter = Inverter::init(networks, &Device::default(), 1).unwrap();
    let form = (networks, Origin::new("untrained", Value::Null));
    let natural =
        Natural::from_networks((&generator, &inverter), form, any(), &victim::victim(4), COUNT, fetch);
    natural.unwrap().with_search(search())
}

fn bytes(write: impl FnOnce(&Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.safetensors");
    write(&path);
    std::fs::read(path).unwrap()
}

#[test]
fn a_training_that_was_interrupted_goes_on_to_the_same_files() {
    let (wgan, victim) = (small(), victim::victim(4));
    let file = |training: &WganTraining| bytes(|path| training.save(path).unwrap());
    let mut whole = wgan.learn(&victim, COUNT, fetch).unwrap();
    assert_eq!((whole.origin().passes, whole.losses().len(), whole.origin().finished), (5, 5, true));
    // The victim is asked nothing; in the last epoch the inverter learns alone.
    assert_eq!(victim.watch().queries(), histoguard::classifier::Queries::NONE);
    let said: Vec<bool> = whole.losses().iter().map(|losses| losses.critic.is_some()).collect();
    assert_eq!(said, [true, true, true, true, false]);
    assert!(whole.losses().iter().all(|losses| losses.reconstruction.is_some() && losses.latent.is_some()));
    assert!(whole.losses()[..4].iter().all(|losses| losses.generator.is_some()));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training.safetensors");
    wgan.start(SHAPE).unwrap().save(&path).unwrap();
    for epoch in 0.. {
        let mut part = WganTraining::load(&path).unwrap();
        assert_eq!((part.origin().passes, part.origin().finished), (epoch, false));
        // Stopped in the middle of an epoch: the epoch counts for nothing.
        let watch = victim.watch().clone();
        victim.watch().on_step(move |step| {
            assert_eq!(step.total, 15);
            if step.done % 3 == 1 {
                watch.stop()
            }
        });
        assert_eq!(wgan.pass(&victim, &mut part, COUNT, fetch).unwrap_err(), AttackError::Stopped);
        victim.watch().on_step(|_| {});
        victim.watch().resume();
        assert!(file(&part) == std::fs::read(&path).unwrap(), "epoch {epoch}");
        let left = wgan.pass(&victim, &mut part, COUNT, fetch).unwrap();
        part.save(&path).unwrap();
        if !left {
            break;
        }
    }
    assert!(file(&whole) == std::fs::read(&path).unwrap());
    assert!(!wgan.pass(&victim, &mut whole, COUNT, fetch).unwrap());

    // Another seed learns other weights, and does not go on from here; nor do other images.
    let other = wgan.clone().with_schedule(wgan.schedule.clone().with_seed(6));
    assert!(file(&other.learn(&victim, COUNT, fetch).unwrap()) != file(&whole));
    let error = other.pass(&victim, &mut whole, COUNT, fetch).unwrap_err().to_string();
    assert!(error.starts_with("training: expected one of WGAN-GP with an inverter {"), "{error}");
    let error = Natural::learned(&other, &whole, any(), &victim, COUNT, fetch).unwrap_err().to_string();
    assert!(error.starts_with("training: expected one of {"), "{error}");
    let error = wgan.pass(&victim, &mut whole, COUNT - 1, fetch).unwrap_err().to_string();
    assert_eq!(error, "images: expected 10, as in the passes before, found 9");
    // What it has come to is measured, and is the file's.
    let natural = Natural::learned(&wgan, &whole, any(), &victim, COUNT, fetch).unwrap();
    assert_eq!((natural.reconstruction().images, natural.origin().passes), (COUNT, 5));
}

#[test]
fn a_poor_inverter_is_refused_with_the_figure() {
    let (wgan, victim) = (small(), victim::victim(4));
    let training = wgan.start(SHAPE).unwrap();
    let learned = |limits| Natural::learned(&wgan, &training, limits, &victim, COUNT, fetch);
    let found = learned(any()).unwrap().reconstruction().clone();
    // By hand: what the inverter and the generator that have learned nothing make of the images.
    let natural = learned(any()).unwrap();
    let (images, _) = fetch(&(0..COUNT).collect::<Vec<_>>()).unwrap();
    let off = |images: Tensor<4>, again: Tensor<4>| -> f64 {
        let squares: Vec<f64> =
            values(images).iter().zip(values(again)).map(|(x, y)| f64::from(x - y).powi(2)).collect();
        let size = SHAPE.iter().product::<usize>();
        squares.chunks(size).map(|image| (image.iter().sum::<f64>() / size as f64).sqrt()).sum::<f64>()
            / COUNT as f64
    };
    let again = natural.reconstructed(images.clone());
    assert!((off(images.clone(), again.clone()) / found.error - 1.0).abs() < 1e-5);
    let mean = images.clone().mean_dim(0).expand(images.dims());
    assert!((off(images.clone(), mean) / found.mean_image_error - 1.0).abs() < 1e-5);
    let (before, after) = (victim.predict(images), victim.predict(again));
    for (class, kept) in found.kept.iter().enumerate() {
        let own: Vec<usize> = (0..COUNT).filter(|&row| before[row] == class).collect();
        let same = own.iter().filter(|&&row| after[row] == class).count();
        assert_eq!((kept.hits, kept.total), (same, own.len()));
    }

    let error = learned(ReconstructionLimits::new()).unwrap_err().to_string();
    let expected = format!(
        "reconstruction error: expected at most {:.4}, 1 times the mean image's, found {:.4} on 10 \
         held-out images",
        found.mean_image_error, found.error
    );
    assert_eq!(error, expected);
    let error = learned(ReconstructionLimits { least_kept: 0.5, ..any() }).unwrap_err().to_string();
    assert!(error.starts_with("reconstructions that stay in class "), "{error}");
    assert!(error.contains("expected at least 0.5 of what the classifier gives it, found 0.0 %"), "{error}");
    let error = Natural::learned(&wgan, &training, any(), &victim, 0, fetch).unwrap_err().to_string();
    assert_eq!(error, "held-out images: expected at least 1, found 0");
}

#[test]
fn a_file_gives_the_same_bits_as_any_learned_attack() {
    let (natural, victim) = (attack(), victim::victim(4));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("natural.safetensors");
    natural.save(&path).unwrap();
    // The names are those of PyTorch's networks in the golden script.
    let names = |bytes: &[u8], from: &[&str]| -> BTreeSet<String> {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let stripped =
            |name: &str| from.iter().find(|prefix| name.starts_with(**prefix)).map(|_| name.to_string());
        file.names().into_iter().filter_map(stripped).collect()
    };
    let golden = format!("{}/tests/golden/attacks/natural.safetensors", env!("CARGO_MANIFEST_DIR"));
    let parts = ["generator.", "inverter."];
    assert_eq!(names(&std::fs::read(&path).unwrap(), &[""]), names(&std::fs::read(golden).unwrap(), &parts));
    let learned = Learned::load(&path, &Device::default(), &[]).unwrap();
    assert!(!Learned::needs_features(&path).unwrap());
    let error = learned.clone().for_images([3, 32, 32]).unwrap_err().to_string();
    assert!(error.contains("expected images of 3x16x16, as it was learned from, found 3x32x32"), "{error}");
    let loaded = learned.for_images(SHAPE).unwrap();
    assert_eq!((*loaded).settings(), natural.settings());
    assert_eq!((*loaded).settings()["search"]["samples"], 30);
    let profile = loaded.profile();
    assert_eq!((profile.aim, profile.access, profile.norm()), (Aim::Semantic, Access::Label, None));
    let rows: Vec<usize> = (0..COUNT).collect();
    let (images, goal) = fetch(&rows).unwrap();
    let found = |attack: &dyn Attack| values(attack.perturb(&victim, images.clone(), &goal).unwrap());
    assert_eq!(found(&*loaded), found(&natural));

    // In an evaluation it stands among the semantic attacks, and breaks what the search found.
    let examples = natural.search(&victim, images.clone(), &goal).unwrap();
    let hits = examples.iter().filter(|example| example.found().is_some()).count();
    let misread =
        examples.iter().filter(|example| matches!(example.outcome, NaturalOutcome::Misread)).count();
    assert!(hits > 0 && misread > 0, "{hits} found, {misread} misread");
    let classes = (0..4).map(|class| format!("class {class}")).collect();
    let data = TensorSet::new(images.clone(), labels(4)[..COUNT].to_vec(), classes).unwrap();
    let result = Evaluation::new(&victim).attack(natural.clone()).run(&data).unwrap();
    assert!(result.attacks.is_empty());
    let semantic = result.semantic("Natural adversary").unwrap();
    assert_eq!((semantic.success.hits, semantic.out_of_range, semantic.not_finite), (hits, 0, 0));
    for (row, example) in examples.iter().enumerate() {
        let Some(adversary) = example.found() else { continue };
        assert_ne!(victim.predict(adversary.image.clone())[0], labels(4)[row]);
        let apart: f64 = adversary
            .code
            .iter()
            .zip(&example.code)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>()
            .sqrt();
        assert!((apart - adversary.distance).abs() < 1e-4, "{apart}, {}", adversary.distance);
    }

    // An image's result is its own, by its index and the seed, whatever its neighbours.
    let of = |natural: &Natural, from: u64, rows: std::ops::Range<usize>| {
        let positions: Vec<usize> = rows.clone().collect();
        let goal = goal.select(&positions).with_indices(rows.map(|row| from + row as u64).collect());
        let images = histoguard::rows::take(&images, &positions);
        values(natural.perturb(&victim, images, &goal).unwrap())
    };
    let together = of(&natural, 7, 0..COUNT);
    let alone: Vec<f32> = (0..COUNT).flat_map(|row| of(&natural, 7, row..row + 1)).collect();
    assert!(together == alone);
    assert!(together != of(&natural, 8, 0..COUNT));
    assert!(together != of(&natural.clone().with_search(search().with_seed(4)), 7, 0..COUNT));
}

/// A file of an attack after this has been done to its metadata and the values of a tensor.
fn damaged(change: impl FnOnce(&mut HashMap<String, String>, &mut Vec<f32>)) -> Result<Natural, StoredError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("natural.safetensors");
    attack().save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut metadata = header.metadata().clone().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let name = "inverter.linear.bias";
    let bias = file.tensor(name).unwrap();
    let mut floats: Vec<f32> =
        bias.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    change(&mut metadata, &mut floats);
    let data: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(Dtype::F32, vec![floats.len()], &data).unwrap();
    let mut tensors: Vec<_> = file.iter().filter(|(other, _)| *other != name).collect();
    tensors.push((name, view));
    std::fs::write(&path, safetensors::serialize(tensors, Some(metadata)).unwrap()).unwrap();
    Natural::load(&path, &Device::default())
}

fn replace(metadata: &mut HashMap<String, String>, from: &str, to: &str) {
    let label = metadata["histoguard"].replacen(from, to, 1);
    assert_ne!(label, metadata["histoguard"]);
    metadata.insert("histoguard".into(), label);
}

#[test]
fn broken_and_foreign_files_are_refused_by_name() {
    assert!(damaged(|_, _| {}).is_ok());
    type Damage = fn(&mut HashMap<String, String>, &mut Vec<f32>);
    let cases: [(Damage, &str); 9] = [
        (|_, bias| bias[1] = f32::NAN, "found NaN in inverter.linear.bias"),
        (|_, bias| bias[1] += 0.5, "expected tensors whose SHA-256 is "),
        (
            |metadata, _| replace(metadata, r#""latent":4"#, r#""latent":5"#),
            "expected a tensor linear.weight of shape [5, 16], found [4, 16]",
        ),
        (
            |metadata, _| replace(metadata, r#""width":2"#, r#""width":1000000000000"#),
            "generator: expected sizes of a network with ",
        ),
        (
            |metadata, _| replace(metadata, "[3,16,16]", "[3,16,24]"),
            "image shape: expected height and width divisible by 16 and at least 16, found 16x24",
        ),
        (
            |metadata, _| replace(metadata, r#""samples":30"#, r#""samples":0"#),
            "samples: expected at least 1, found 0",
        ),
        (
            |metadata, _| replace(metadata, r#""order":"hybrid""#, r#""order":"other""#),
            "expected what the attack says of itself in the metadata",
        ),
        (
            |metadata, _| replace(metadata, "natural adversary", "universal perturbation"),
            "found a universal perturbation",
        ),
        (|metadata, _| metadata.clear(), "found safetensors of something else"),
    ];
    for (damage, said) in cases {
        let error = damaged(damage).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("natural.safetensors"), "{error}");
    }
    // A training in which a bit has changed is none, and one of another kind is no attack.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training.safetensors");
    small().start(SHAPE).unwrap().save(&path).unwrap();
    let error = Learned::load(&path, &Device::default(), &[]).unwrap_err().to_string();
    assert!(error.contains("expected an attack that was learned, found a training of a WGAN"), "{error}");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = WganTraining::load(&path).unwrap_err().to_string();
    assert!(error.contains("training.safetensors: expected tensors whose SHA-256 is "), "{error}");
}

#[test]
fn settings_out_of_their_ranges_are_refused_before_any_work() {
    let schedule = GanSchedule::new();
    for (wgan, said) in [
        (small().with_latent(0), "latent: expected at least 1, found 0"),
        (small().with_width(0), "width: expected at least 1, found 0"),
        (small().with_critic_steps(0), "critic steps: expected at least 1, found 0"),
        (small().with_penalty(-1.0), "penalty: expected a finite number of at least 0, found -1"),
        (small().with_lambda(f64::NAN), "lambda: expected a finite number of at least 0, found NaN"),
        (small().with_settling(6), "settling: expected at most the epochs, found 6"),
        (
            small().with_settling(0).with_schedule(schedule.clone().with_epochs(0)),
            "epochs: expected at least 1, found 0",
        ),
    ] {
        assert_eq!(wgan.start(SHAPE).unwrap_err().to_string(), said);
    }
    for shape in [[3, 40, 32], [3, 0, 16]] {
        let error = small().start(shape).unwrap_err().to_string();
        assert!(error.starts_with("image shape: expected height and width divisible by 16 and at least 16"));
    }
    assert!(small().start([0, 16, 16]).unwrap_err().to_string().starts_with("channels: expected at least 1"));
    let (victim, natural) = (victim::victim(4), attack());
    let (images, goal) = fetch(&[0]).unwrap();
    for (search, said) in [
        (search().with_samples(0), "samples: expected at least 1, found 0"),
        (search().with_step(0.0), "step: expected a finite number above 0, found 0"),
        (search().with_largest(f64::INFINITY), "largest: expected a finite number above 0, found inf"),
        (search().with_patience(0), "patience: expected at least 1, found 0"),
        (search().with_queries(Some(0)), "queries: expected at least 1, found 0"),
    ] {
        assert_eq!(search.check().unwrap_err().to_string(), said);
        let error = natural.clone().with_search(search).perturb(&victim, images.clone(), &goal).unwrap_err();
        assert_eq!(error.to_string(), said);
    }
    let asked = search().with_order(ShellOrder::Iterative).with_step(2.5).with_queries(None);
    let most = natural.clone().with_search(asked).profile();
    // The reconstruction and, roundings apart, four shells.
    assert_eq!((most.queries.unwrap().forwards, most.steps), (1 + 5 * 30, Some(6)));
    let error = ReconstructionLimits { largest_error: 0.0, least_kept: 0.5 }.check().unwrap_err().to_string();
    assert_eq!(error, "largest error: expected a finite number above 0, found 0");
    let error = ReconstructionLimits { largest_error: 1.0, least_kept: 1.5 }.check().unwrap_err().to_string();
    assert_eq!(error, "least kept: expected a number from 0 to 1, found 1.5");
}
