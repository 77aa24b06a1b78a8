//! The direction in which a walk's goal is reached most surely.

use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::attack::HopSkipJump;
use super::walks::{AT_ONCE, Walks};
use crate::attack::Draws;
use crate::attack::prelude::*;
use crate::random::Generator;

/// What the labels of nearby points say: their differences from the point, all of them and those that reach
/// the goal less the others.
#[derive(Clone)]
struct Estimate {
    all: Vec<f64>,
    signed: Vec<f64>,
    labels: f64,
}

impl Estimate {
    fn add(&mut self, nearby: &[f32], point: &[f32], radius: f32, reached: bool) {
        let label = if reached { 1.0 } else { -1.0 };
        for (j, (&near, &point)) in nearby.iter().zip(point).enumerate() {
            let difference = f64::from((near - point) / (radius + 1e-8));
            self.all[j] += difference;
            self.signed[j] += label * difference;
        }
        self.labels += label;
    }

    /// Of length one: equation 16 of the paper, in L-infinity its sign.
    fn direction(&self, norm: Norm, evaluations: usize) -> Vec<f32> {
        let mean = self.labels / evaluations as f64;
        let baseline = if mean.abs() == 1.0 { 0.0 } else { mean };
        let estimate: Vec<f64> =
            self.signed.iter().zip(&self.all).map(|(signed, all)| signed - baseline * all).collect();
        let length = Norm::L2.measure_values(&estimate).max(f64::MIN_POSITIVE);
        let unit = |e: f64| if norm == Norm::L2 { e / length } else { e.signum() * f64::from(e != 0.0) };
        estimate.into_iter().map(|e| unit(e) as f32).collect()
    }
}

impl HopSkipJump {
    /// The direction of each walk in a round, counted from 1.
    pub(super) fn directions(&self, walks: &mut Walks<'_>, round: usize) -> Result<Tensor<4>, AttackError> {
        let (size, evaluations) = (walks.task.size(), self.evaluations(round));
        let radius = |(row, distance)| match round {
            1 => 0.1,
            _ => (self.gamma * distance / walks.task.dimension(row) as f64) as f32,
        };
        let radii: Vec<f32> = walks.distances(self.norm).into_iter().enumerate().map(radius).collect();
        let points = values(walks.points.clone());
        let points: Vec<&[f32]> = points.chunks(size).collect();
        let none = Estimate { all: vec![0.0; size], signed: vec![0.0; size], labels: 0.0 };
        let mut estimates = vec![none; points.len()];
        let asked: Vec<(usize, u64)> =
            (0..points.len()).flat_map(|row| (0..evaluations as u64).map(move |draw| (row, draw))).collect();
        for asked in asked.chunks(AT_ONCE) {
            let rows: Vec<usize> = asked.iter().map(|(row, _)| *row).collect();
            let drawn = |&(_, draw): &(usize, u64)| {
                walks.task.draws(Purpose::HOP_SKIP_JUMP, self.seed, &[round as u64, draw])
            };
            let draws: Vec<Draws> = asked.iter().map(drawn).collect();
            let nearby: Vec<Vec<f32>> = rows
                .par_iter()
                .zip(&draws)
                .map(|(&row, draws)| {
                    let way = draws.numbers(row, size, |size, rng| direction(self.norm, size, rng));
                    nearby(points[row], radii[row], &way)
                })
                .collect();
            let reached = walks.ask(&rows, &batch(nearby.concat(), &walks.points))?;
            for ((row, nearby), reached) in rows.into_iter().zip(nearby).zip(reached) {
                estimates[row].add(&nearby, points[row], radii[row], reached);
            }
        }
        let directions = estimates.iter().flat_map(|estimate| estimate.direction(self.norm, evaluations));
        Ok(batch(directions.collect(), &walks.points))
    }
}

/// A random direction.
fn direction(norm: Norm, size: usize, rng: &mut Generator) -> Vec<f32> {
    let mut draw = || if norm == Norm::L2 { StandardNormal.sample(rng) } else { rng.random_range(-1.0..1.0) };
    (0..size).map(|_| draw()).collect()
}

/// A point at this distance from another in this direction.
fn nearby(point: &[f32], radius: f32, direction: &[f32]) -> Vec<f32> {
    let length = direction.iter().map(|d| f64::from(d * d)).sum::<f64>().sqrt() as f32 + 1e-12;
    point.iter().zip(direction).map(|(p, d)| (p + radius * d / length).clamp(0.0, 1.0)).collect()
}
