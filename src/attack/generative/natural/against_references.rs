//! A training step against PyTorch's double backward, and both searches against NumPy:
//! tests/golden/attacks/natural.py.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use super::super::golden::victim::{Victim, golden, largest_difference};
use super::super::golden::{compare, compare_some, network, stored};
use super::super::named_adam::NamedAdam;
use super::super::numbers::{numbers, path_name};
use super::config::LatentConfig;
use super::critic::Critic;
use super::generator::LatentGenerator;
use super::inverter::Inverter;
use super::losses::{of_critic, of_generator, of_inverter};
use super::models::Models;
use super::search::{NaturalExample, NaturalOutcome, Sphere, search_in};
use super::shells::{ShellOrder, ShellSearch};
use crate::attack::Goal;
use crate::attack::prelude::*;
use crate::classifier::Frozen;

const FILE: &str = "natural";
const SHAPE: [usize; 3] = [3, 32, 16];

fn config(shape: [usize; 3]) -> LatentConfig {
    LatentConfig { shape, latent: 5, width: 2 }
}

fn numbers_of(name: &str) -> Vec<f32> {
    golden(FILE, name).try_into_vec().unwrap()
}

fn images(name: &str) -> Tensor<4> {
    Tensor::from_data(golden(FILE, name), &Device::default()) / 255.0
}

fn critic() -> Critic {
    network(FILE, Critic::blank(config(SHAPE), &Device::default().autodiff()), "critic", path_name)
}

#[test]
fn a_step_of_all_three_networks_equals_pytorch() {
    let (device, config) = (Device::default().autodiff(), config(SHAPE));
    let generator = network(FILE, LatentGenerator::blank(config, &device), "generator", path_name);
    let inverter = network(FILE, Inverter::blank(config, &device), "inverter", path_name);
    let critic = critic();
    let codes = Tensor::<2>::from_data(golden(FILE, "codes"), &Device::default());
    let (x, made) = (images("images"), generator.valid().forward(codes.clone()));

    let of = || of_critic(&critic, 10.0, [x.clone(), made.clone()], &numbers_of("shares"));
    let (first, gradients) = of();
    compare(FILE, "step.critic", &critic, gradients, path_name);
    let moved = NamedAdam::new().step(1e-3, critic.clone(), of().1);
    for (name, (_, found)) in numbers(&moved, path_name) {
        let (start, expected) =
            (numbers_of(&format!("critic.{name}")), numbers_of(&format!("step.moved.{name}")));
        // Adam's first step is the rate whatever the gradient.
        let still = largest_difference(&start, &expected) < 5e-4;
        // But both means of scores have the same last bias.
        assert_eq!(still, name == "linear.bias", "{name}");
        assert!(largest_difference(&found, &expected) < 1e-5, "{name}");
    }
    let (second, gradients) = of_inverter(&inverter, &generator, 0.1, (x, codes.clone(), made));
    compare(FILE, "step.inverter", &inverter, gradients, path_name);
    let (third, gradients) = of_generator(&generator, &moved, codes);
    compare(FILE, "step.generator", &generator, gradients, path_name);

    let found = [first.critic, first.penalty, third.generator, second.reconstruction, second.latent];
    for (found, expected) in found.into_iter().zip(numbers_of("step.losses")) {
        let found = found.unwrap() as f32;
        assert!((found / expected - 1.0).abs() < 1e-4, "{found}, {expected}");
    }
}

#[test]
fn the_gradient_of_the_penalty_is_that_of_a_double_backward() {
    let (critic, x) = (critic(), images("images"));
    let generator =
        network(FILE, LatentGenerator::blank(config(SHAPE), &Device::default()), "generator", path_name);
    let made = generator.forward(Tensor::from_data(golden(FILE, "codes"), &Device::default()));
    let between = x.clone() + (made - x.clone()) * factors(&numbers_of("shares"), &x);
    let penalty = critic.gradient_penalty(between);
    let expected = numbers_of("step.losses")[1];
    assert!((penalty.clone().inner().into_scalar::<f32>() / expected - 1.0).abs() < 1e-4);
    let gradients = GradientsParams::from_grads(penalty.backward(), &critic);
    // Gradients in the images do not know the biases.
    assert_eq!(compare_some(FILE, "step.penalty", &critic, gradients, path_name), 5);
}

#[test]
fn directional_derivatives_are_those_of_differences() {
    let (critic, x) = (critic(), images("images"));
    let way = x.clone().neg() + 0.4;
    let found = values(critic.directional_derivative(x.clone(), way.clone()).inner());
    let along = |t: f64| values(critic.valid().forward(x.clone() + way.clone() * t));
    // Short of the next kink the critic is linear.
    let (behind, ahead) = (along(-1e-3), along(1e-3));
    for (row, found) in found.into_iter().enumerate() {
        let difference = (ahead[row] - behind[row]) / 2e-3;
        assert!((found - difference).abs() < 2e-3 * found.abs().max(0.1), "{row}: {found}, {difference}");
    }
}

/// The script's numbers of its searches.
const SAMPLES: usize = 40;
const ROUNDS: usize = 32;

fn searched(goal: &Goal, rows: &[usize], settings: ShellSearch) -> Vec<NaturalExample> {
    let config = config([3, 16, 16]);
    let blank =
        (LatentGenerator::blank(config, &Device::default()), Inverter::blank(config, &Device::default()));
    let generator = stored(FILE, &blank.0, "search.generator", path_name);
    let inverter = stored(FILE, &blank.1, "search.inverter", path_name);
    let models = Models::new(config, [&generator, &inverter], &Device::default()).unwrap();
    let victim = Frozen::new(Victim::trained(4, &Device::default()));
    let (directions, shares) = (numbers_of("search.directions"), numbers_of("search.shares"));
    let wide =
        |values: &[f32], of: fn(f64) -> f64| values.iter().map(|&value| of(f64::from(value))).collect();
    let images = take(&images("search.images"), rows);
    let profile = Profile::semantic("search", Access::Label, None, None);
    let task = Task::new(&victim, images, &goal.keep(rows), profile).unwrap();
    let examples = search_in(&task, &models, settings, |row, round, latent| {
        let from = (rows[row] * ROUNDS + round) * SAMPLES;
        Sphere {
            directions: wide(&directions[from * latent..][..SAMPLES * latent], |level| level - 127.5),
            shares: wide(&shares[from..][..SAMPLES], |level| level / 256.0),
        }
    })
    .unwrap();
    // Every query is counted, and is a label's.
    let asked = examples.iter().map(|example| example.queries).sum::<usize>();
    assert_eq!(victim.watch().queries(), Queries::forwards(asked));
    examples
}

fn labels() -> Vec<usize> {
    numbers_of("search.labels").into_iter().map(|label| label as usize).collect()
}

fn settings(order: ShellOrder) -> ShellSearch {
    let settings = ShellSearch::new().with_order(order).with_samples(SAMPLES).with_step(0.1);
    settings.with_largest(2.0).with_patience(3)
}

#[test]
fn both_searches_find_what_numpy_finds_with_the_same_directions() {
    let labels = labels();
    let all: Vec<usize> = (0..labels.len()).collect();
    let targets: Vec<usize> = labels.iter().enumerate().map(|(i, label)| (label + 1 + i % 3) % 4).collect();
    for (name, goal) in [("away", Goal::untargeted(&labels)), ("towards", Goal::targeted(targets))] {
        for (kind, order) in [("iterative", ShellOrder::Iterative), ("hybrid", ShellOrder::Hybrid)] {
            let case = format!("search.{name}.{kind}");
            let expected = numbers_of(&case);
            let examples = searched(&goal, &all, settings(order));
            for (row, (example, expected)) in examples.iter().zip(expected.chunks(7)).enumerate() {
                let found = example.found().unwrap();
                assert!((found.distance as f32 - expected[0]).abs() < 1e-5, "{case} {row}: {expected:?}");
                assert!(largest_difference(&found.code, &expected[2..]) < 1e-4, "{case} {row}");
                // One query of the reconstruction, and at most a shell a round.
                assert!(example.queries <= 1 + SAMPLES * expected[1] as usize, "{case} {row}");
                let code = &numbers_of("search.codes")[5 * row..][..5];
                assert!(largest_difference(&example.code, code) < 1e-4);
                let error = numbers_of("search.errors")[row];
                assert!((example.reconstruction_error as f32 / error - 1.0).abs() < 1e-4);
            }
            // An image alone, whatever its neighbours: the same bits.
            for (row, example) in examples.iter().enumerate() {
                let alone = &searched(&goal, &[row], settings(order))[0];
                let found = |example: &NaturalExample| {
                    let found = example.found().unwrap();
                    (found.code.clone(), found.distance, values(found.image.clone()), example.queries)
                };
                assert_eq!(found(alone), found(example), "{case} {row}");
            }
        }
    }
}

#[test]
fn a_search_ends_at_its_radius_and_its_queries_and_does_not_begin_at_an_error_of_the_inverter() {
    let labels = labels();
    let goal = Goal::untargeted(&labels);
    let rows: Vec<usize> = (0..labels.len()).collect();
    let near = ShellSearch { step: 0.05, largest: 0.06, ..settings(ShellOrder::Iterative) };
    for example in searched(&goal, &rows, near) {
        assert!(matches!(example.outcome, NaturalOutcome::NotFound));
        // Two shells, the second one thinner.
        assert_eq!(example.queries, 1 + 2 * SAMPLES);
    }
    for example in searched(&goal, &rows, settings(ShellOrder::Hybrid).with_queries(Some(2 * SAMPLES))) {
        assert!(example.queries <= 2 * SAMPLES);
    }
    // Away from a class that the reconstruction does not have.
    let others: Vec<usize> = labels.iter().map(|label| (label + 1) % 4).collect();
    for example in searched(&Goal::untargeted(others), &rows, settings(ShellOrder::Hybrid)) {
        assert!(matches!(example.outcome, NaturalOutcome::Misread) && example.queries == 1);
    }
}
