//! A training step of both generators and of a copy against PyTorch in float64:
//! tests/golden/attacks/generative.py.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::advgan;
use super::bounding::Bounding;
use super::discriminator::Discriminator;
use super::distilled::{Distillation, DistilledCopy};
use super::feature_generator::{FeatureGenerator, FeatureGeneratorConfig};
use super::generator::{Generator, GeneratorConfig, GeneratorNorm};
use super::golden::victim::{self, Victim, golden};
use super::golden::{compare, network, stored};
use super::losses::{GanLoss, GanLosses};
use super::named_adam::NamedAdam;
use super::numbers::{Name, filled, numbers, path_name};
use super::perturbation::GeneratedPerturbation;
use super::plus_plus;
use super::step::{Fake, of_discriminator, of_generator};
use super::target::WhiteBox;
use crate::attack::{Goal, Origin};
use crate::classifier::{Embed as _, Frozen};
use crate::pixels::{Budget, Epsilon};
use crate::rows::values;

/// The file of all tensors here.
const FILE: &str = "generative";

const SHAPE: [usize; 3] = [3, 24, 24];

fn device() -> Device {
    Device::default().autodiff()
}

fn config() -> GeneratorConfig {
    GeneratorConfig::new(3).with_width(2).with_blocks(2)
}

fn generator(device: &Device) -> Generator {
    network(FILE, config().blank(device), "generator", Generator::tensor_name)
}

fn discriminator() -> Discriminator {
    network(FILE, Discriminator::blank(3, 2, &device()), "discriminator", Discriminator::tensor_name)
}

fn images(device: &Device) -> Tensor<4> {
    Tensor::from_data(golden(FILE, "images"), device) / 255.0
}

fn classes() -> Vec<usize> {
    let classes: Vec<f32> = golden(FILE, "classes").try_into_vec().unwrap();
    classes.into_iter().map(|class| class as usize).collect()
}

/// The script's `step`.
fn step<G: Module>(case: &str, losses: &GanLosses, generator: &G, name: Name, fake: Fake, goal: &Goal) {
    let victim = Frozen::new(Victim::trained(4, &Device::default()));
    let discriminator = discriminator();
    let of = || of_discriminator(losses, &discriminator, images(&device()), &fake);
    let (first, gradients) = of();
    compare(FILE, &format!("{case}.discriminator"), &discriminator, gradients, Discriminator::tensor_name);
    let gradients = of().1;
    let moved = NamedAdam::new().step(1e-3, discriminator, gradients);
    let (found, gradients) = of_generator(losses, (generator, &moved), fake, goal, &WhiteBox(&victim));
    compare(FILE, &format!("{case}.generator"), generator, gradients, name);
    let expected: Vec<f32> = golden(FILE, &format!("{case}.losses")).try_into_vec().unwrap();
    let found = [first, found.gan, found.adversarial, found.hinge];
    for (found, expected) in found.into_iter().zip(&expected) {
        assert!(
            (found as f32 - expected).abs() <= 1e-4 * expected.abs().max(0.1),
            "{case}: {found}, {expected}"
        );
    }
    let buffers = numbers(generator, name).into_iter().filter(|(name, _)| name.contains("running"));
    for (name, (_, found)) in buffers {
        let expected: Vec<f32> = golden(FILE, &format!("{case}.buffer.{name}")).try_into_vec().unwrap();
        assert!(victim::largest_difference(&found, &expected) < 1e-4, "{case}: {name}");
    }
}

fn losses() -> GanLosses {
    GanLosses::new()
}

#[test]
fn a_step_of_advgan_with_least_squares_and_clipping_equals_pytorch() {
    let (generator, goal) = (generator(&device()), Goal::untargeted(classes()));
    let budget = Budget::linf(Epsilon::unit(0.3));
    let fake = advgan::fake(&generator, images(&device()), Bounding::Clip, budget);
    step("clip", &losses().with_c(Some(0.5)), &generator, Generator::tensor_name, fake, &goal);
}

#[test]
fn a_step_of_advgan_towards_a_target_with_cross_entropy_and_scaling_equals_pytorch() {
    let targets: Vec<usize> = classes().into_iter().map(|class| (class + 1) % 4).collect();
    let generator = generator(&device());
    let budget = Budget::linf(Epsilon::unit(0.03));
    let fake = advgan::fake(&generator, images(&device()), Bounding::Scale, budget);
    let losses =
        losses().with_gan_loss(GanLoss::CrossEntropy).with_gan_weight(0.5).with_alpha(3.0).with_kappa(2.0);
    step("scale", &losses, &generator, Generator::tensor_name, fake, &Goal::targeted(targets));
}

#[test]
fn a_step_of_advgan_with_batch_norm_equals_pytorch() {
    let blank = config().with_norm(GeneratorNorm::Batch).blank(&device());
    let generator = network(FILE, blank, "batch_norm_generator", Generator::tensor_name);
    let budget = Budget::linf(Epsilon::unit(0.03));
    let fake = advgan::fake(&generator, images(&device()), Bounding::Scale, budget);
    let (losses, goal) = (losses().with_kappa(10.0), Goal::untargeted(classes()));
    step("batch_norm", &losses, &generator, Generator::tensor_name, fake, &goal);
}

#[test]
fn a_step_of_advgan_plus_plus_equals_pytorch() {
    let config = FeatureGeneratorConfig::new(16, SHAPE).with_noise(5).with_width(2).with_blocks(2);
    let blank = config.blank(&device());
    let mut weights = stored(FILE, &blank, "feature_generator", FeatureGenerator::tensor_name);
    let (shape, values) = weights.remove("linear.weight").unwrap();
    weights.insert("linear.weight".into(), transposed(shape, &values));
    let generator = filled(blank, &weights, FeatureGenerator::tensor_name).unwrap();
    let network = Victim::trained(4, &Device::default());
    let seen = network.embed(images(&Device::default())).autodiff();
    let noise = Tensor::<2>::from_data(golden(FILE, "noise"), &device());
    let budget = Budget::linf(Epsilon::unit(0.05));
    let fake = plus_plus::fake(&generator, images(&device()), [seen, noise], budget);
    let losses = losses().with_c(Some(0.0)).with_kappa(1.0).with_alpha(2.0).with_beta(0.5);
    step("plus_plus", &losses, &generator, FeatureGenerator::tensor_name, fake, &Goal::untargeted(classes()));
}

/// Rows and columns exchanged.
fn transposed(shape: Vec<usize>, values: &[f32]) -> (Vec<usize>, Vec<f32>) {
    let [rows, columns] = shape[..] else { panic!("{shape:?}") };
    let turned = (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column]));
    (vec![columns, rows], turned.collect())
}

#[test]
fn a_step_of_a_copy_equals_pytorch() {
    let victim = Frozen::new(Victim::trained(4, &Device::default()));
    let mut weights = numbers(&Victim::trained(4, &Device::default()), path_name);
    weights.values_mut().for_each(|(_, values)| values.iter_mut().for_each(|value| *value *= 0.7));
    let network = filled(Victim::trained(4, &Device::default()), &weights, path_name).unwrap();
    let copy = DistilledCopy::new(network, Distillation::new(), SHAPE).unwrap();
    let learning = copy.learning(&victim).unwrap();
    let x = images(&Device::default());
    let (loss, gradients) = learning.loss(&[x.clone(), x * 0.9]);
    let expected: Vec<f32> = golden(FILE, "copy_loss").try_into_vec().unwrap();
    assert!((loss as f32 / expected[0] - 1.0).abs() < 1e-5, "{loss}, {expected:?}");
    assert_eq!(victim.watch().queries().forwards, 8);
    compare(FILE, "copy", learning.network(), gradients, path_name);
}

#[test]
fn the_attack_adds_what_pytorchs_generator_gives_in_evaluation_mode() {
    let budget = Budget::linf(Epsilon::unit(0.03));
    let attack = GeneratedPerturbation::from_generator(
        &generator(&Device::default()),
        config(),
        (budget, Bounding::Scale),
        SHAPE,
        Origin::new("PyTorch", serde_json::Value::Null),
    );
    let found = values(attack.unwrap().change(images(&Device::default()).narrow(0, 0, 1)) / 0.03);
    let expected: Vec<f32> = golden(FILE, "evaluated").try_into_vec().unwrap();
    assert!(victim::largest_difference(&found, &expected) < 1e-4);
}
