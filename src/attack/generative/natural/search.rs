//! The search for the nearest code whose image reaches the goal.

use burn::tensor::{Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};

use super::models::Models;
use super::shells::{ShellSearch, Shells};
use crate::attack::prelude::*;
use crate::random::Generator;

const DIRECTIONS: Purpose = Purpose::named("directions of a search around a code");
/// Candidates that are asked about at once, all of one image: what they are must not depend on others.
const AT_ONCE: usize = 32;

/// What the search around the code of an image came to.
#[derive(Clone, Debug)]
pub struct NaturalExample {
    /// The code that the inverter gives the image.
    pub code: Vec<f32>,
    /// What the generator makes of that code, `[1, channels, height, width]`: where the search starts.
    pub reconstruction: Tensor<4>,
    /// The root mean square difference of that from the image, on the \[0,1\] scale.
    pub reconstruction_error: f64,
    /// What was found.
    pub outcome: NaturalOutcome,
    /// Images that the victim was asked about.
    pub queries: usize,
}

/// What a search around a code found.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one an image, whose tensors are larger")]
pub enum NaturalOutcome {
    /// A code whose image reaches the goal.
    Found(NaturalAdversary),
    /// No code within the largest radius or the queries.
    NotFound,
    /// The reconstruction reaches the goal by itself: that is the inverter's failure and no adversary of the
    /// image.
    Misread,
}

/// The nearest code whose image reaches the goal.
#[derive(Clone, Debug)]
pub struct NaturalAdversary {
    /// The code.
    pub code: Vec<f32>,
    /// How far it is from the image's code, in the L2 norm.
    pub distance: f64,
    /// What the generator makes of it, `[1, channels, height, width]`.
    pub image: Tensor<4>,
}

impl NaturalExample {
    /// The adversary, if one was found.
    pub fn found(&self) -> Option<&NaturalAdversary> {
        match &self.outcome {
            NaturalOutcome::Found(adversary) => Some(adversary),
            NaturalOutcome::NotFound | NaturalOutcome::Misread => None,
        }
    }
}

/// The candidates of a shell, before its radii.
pub(super) struct Sphere {
    /// One after the other; their lengths do not count.
    pub(super) directions: Vec<f64>,
    /// From 0 to 1: where in the shell each lies.
    pub(super) shares: Vec<f64>,
}

impl Sphere {
    /// Random candidates for codes of so many numbers.
    fn drawn(samples: usize, latent: usize, rng: &mut Generator) -> Self {
        let directions = (0..samples * latent).map(|_| StandardNormal.sample(&mut *rng)).collect();
        Self { directions, shares: (0..samples).map(|_| rng.random::<f64>()).collect() }
    }

    /// Radii and codes of the candidates in this shell around a code, from the nearest on.
    fn candidates(&self, code: &[f32], [low, high]: [f64; 2]) -> Vec<(f64, Vec<f32>)> {
        let candidate = |(direction, share): (&[f64], &f64)| {
            let (radius, length) = (share * (high - low) + low, Norm::L2.measure_values(direction));
            let scale = radius / length.max(f64::MIN_POSITIVE);
            let moved = code.iter().zip(direction).map(|(z, d)| (f64::from(*z) + d * scale) as f32);
            (radius, moved.collect())
        };
        let mut candidates: Vec<_> =
            self.directions.chunks(code.len()).zip(&self.shares).map(candidate).collect();
        candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
        candidates
    }
}

/// Searches around the codes of a task's images, each by itself.
pub(super) fn search(
    task: &Task<'_>,
    models: &Models,
    settings: ShellSearch,
) -> Result<Vec<NaturalExample>, AttackError> {
    search_in(task, models, settings, |row, round, latent| {
        let mut rng = task.draws(DIRECTIONS, settings.seed, &[round as u64]).generator(row);
        Sphere::drawn(settings.samples, latent, &mut rng)
    })
}

/// The same with these candidates for each row, round and length of a code.
pub(super) fn search_in(
    task: &Task<'_>,
    models: &Models,
    settings: ShellSearch,
    sphere: impl Fn(usize, usize, usize) -> Sphere,
) -> Result<Vec<NaturalExample>, AttackError> {
    task.step()?;
    let mut examples: Vec<NaturalExample> = (0..task.len()).map(|row| begun(task, models, row)).collect();
    let mut shells = vec![Shells::new(settings); task.len()];
    for round in 0.. {
        let open = |row: &usize| {
            let NaturalExample { outcome, queries, .. } = &examples[*row];
            let paid = settings.queries.is_none_or(|most| queries + settings.samples <= most);
            !matches!(outcome, NaturalOutcome::Misread) && paid && shells[*row].next().is_some()
        };
        let open: Vec<usize> = (0..task.len()).filter(open).collect();
        if open.is_empty() {
            break;
        }
        task.step()?;
        for row in open {
            let example = &mut examples[row];
            let shell = shells[row].next().expect("open");
            let candidates = sphere(row, round, example.code.len()).candidates(&example.code, shell);
            let nearest = nearest(task, models, (row, candidates), &mut example.queries)?;
            shells[row].tell(nearest.as_ref().map(|found| found.distance));
            let before = example.found().map_or(f64::INFINITY, |found| found.distance);
            if let Some(found) = nearest.filter(|found| found.distance < before) {
                example.outcome = NaturalOutcome::Found(found);
            }
        }
    }
    Ok(examples)
}

/// An image's code and reconstruction: one query.
fn begun(task: &Task<'_>, models: &Models, row: usize) -> NaturalExample {
    let task = task.keep(&[row]);
    let code = models.codes(task.images());
    let reconstruction = task.compose(models.images(code.clone(), &task.images().device()));
    let outcome = match task.reached(&reconstruction)[0] {
        true => NaturalOutcome::Misread,
        false => NaturalOutcome::NotFound,
    };
    let reconstruction_error = rms(reconstruction.clone() - task.images())[0];
    NaturalExample { code: values(code), reconstruction, reconstruction_error, outcome, queries: 1 }
}

/// The root mean square of each row.
pub(super) fn rms(difference: Tensor<4>) -> Vec<f64> {
    let size = difference.dims()[1..].iter().product::<usize>().max(1) as f64;
    values(Norm::L2.measure(difference)).into_iter().map(|norm| f64::from(norm) / size.sqrt()).collect()
}

/// The nearest of these candidates of the image in this row, nearest first, that reaches the goal. They are
/// asked about from the nearest on, so many at a time, until one does: the answer is that of asking about all.
fn nearest(
    task: &Task<'_>,
    models: &Models,
    (row, candidates): (usize, Vec<(f64, Vec<f32>)>),
    queries: &mut usize,
) -> Result<Option<NaturalAdversary>, AttackError> {
    for some in candidates.chunks(AT_ONCE) {
        task.go_on()?;
        let task = task.keep(&vec![row; some.len()]);
        let codes: Vec<f32> = some.iter().flat_map(|(_, code)| code.clone()).collect();
        let codes = TensorData::new(codes, [some.len(), some[0].1.len()]);
        let images = models.images(Tensor::from_data(codes, models.device()), &task.images().device());
        let images = task.compose(images);
        let reached = task.reached(&images);
        *queries += some.len();
        if let Some(hit) = reached.iter().position(|&reached| reached) {
            let (distance, code) = some[hit].clone();
            return Ok(Some(NaturalAdversary { code, distance, image: take(&images, &[hit]) }));
        }
    }
    Ok(None)
}
