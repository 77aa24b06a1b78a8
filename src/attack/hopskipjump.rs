//! HopSkipJump, which sees nothing of the victim but its labels.

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::base::{check, check_parameter, step};
use super::best::Best;
use super::rows::values;
use super::{Attack, AttackError, Goal, Norm};
use crate::classifier::{Frozen, predictions};
use crate::pixels::Epsilon;
use crate::random::{Purpose, generator};

const NAME: &str = "HopSkipJump";

/// Noise images tried before an image is given up, and blends of it with the image, foolbox's numbers.
const DIRECTIONS: usize = 1000;
const BLENDS: usize = 50;

/// Images put to the victim at once, at most, so that memory does not grow with the number of evaluations.
const ROWS: usize = 64;

/// Halvings of a step before it counts as no step: past the resolution of a pixel.
const HALVINGS: usize = 40;

/// HopSkipJump: walks along the decision boundary towards the image, by labels alone.
///
/// Chen, Jordan & Wainwright, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack", S&P 2020,
/// algorithm 2: from an image that reaches the goal, bisect to the boundary; estimate the gradient there from
/// the labels of `B_t = B_0 * sqrt(t)` nearby points at the distance `gamma * d_t / n`, with the mean label as
/// baseline (equation 16); step by `d_t / sqrt(t)`, halved until the goal is reached (equation 17); bisect
/// again. n is the number of values of an image, d_t its distance after t steps; the bisection ends at
/// `gamma / n^1.5` of the way in L2, at `gamma / n^2` in L-infinity. As foolbox's `HopSkipJump` for one image
/// (its batches share one normalisation of the estimates), except that the nearest of all steps is returned.
///
/// The start is uniform noise, blended with the image as little as needed, or the nearest of
/// [`with_starts`](Self::with_starts) that reaches the goal: noise seldom reaches a target. Images for which
/// there is no start come back as they are, as do those that the goal fits already.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | norm | L2 | L2, L-infinity |
/// | steps | 64 | at least 1 |
/// | evaluations | 100 at first, at most 10000 | at least 1; at least the first |
/// | gamma | 1 | finite, above 0 |
/// | queries | no bound | at least 1, for each image |
/// | starts | noise | images of the same shape in \[0,1\] |
/// | seed | 0 | |
/// | limit | none | finite, at least 0 |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone(), bright.neg() + 1.0], 1)
/// });
/// // "Bright" ends at a mean of 0.5: nearest where each of the four pixels gives 0.1.
/// let images = Tensor::full([1, 1, 2, 2], 0.6, &device);
/// let attack = HopSkipJump::new().with_steps(10).with_queries(2000);
/// let change = attack.perturb(&victim, images.clone(), &Goal::untargeted([0]))? - images;
/// let length = Norm::L2.measure(change).into_scalar::<f32>();
/// assert!((0.2..0.22).contains(&length), "{length}");
/// assert!(victim.watch().queries().forwards <= 2000 && victim.watch().queries().gradients == 0);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Debug)]
pub struct HopSkipJump {
    norm: Norm,
    steps: usize,
    evaluations: [usize; 2],
    gamma: f64,
    queries: Option<usize>,
    starts: Option<Tensor<4>>,
    seed: u64,
    limit: Option<Epsilon>,
}

impl HopSkipJump {
    /// HopSkipJump in L2 with the paper's settings.
    pub fn new() -> Self {
        Self {
            norm: Norm::L2,
            steps: 64,
            evaluations: [100, 10_000],
            gamma: 1.0,
            queries: None,
            starts: None,
            seed: 0,
            limit: None,
        }
    }

    /// The norm in which the distance shrinks.
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// Steps along the boundary.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Labels asked for in the first estimate of a gradient, and at most in a later one.
    pub fn with_evaluations(mut self, first: usize, most: usize) -> Self {
        self.evaluations = [first, most];
        self
    }

    /// Scale of the bisection's end and of the distance of the points that estimate a gradient. With 1 and images of
    /// 224x224x3 these points differ from each other by as little as single precision shows; larger ones help.
    pub fn with_gamma(mut self, gamma: f64) -> Self {
        self.gamma = gamma;
        self
    }

    /// Labels that may be asked for each image; a step that might need more is not begun.
    pub fn with_queries(mut self, queries: usize) -> Self {
        self.queries = Some(queries);
        self
    }

    /// Images to start from, `[any, channels, height, width]`, such as some of each class. One query each for every
    /// call of [`perturb`](Attack::perturb), beside those of [`with_queries`](Self::with_queries).
    pub fn with_starts(mut self, images: Tensor<4>) -> Self {
        self.starts = Some(images.inner());
        self
    }

    /// The seed of the noise.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Leaves images as they are whose perturbation would be larger.
    pub fn with_limit(mut self, limit: Epsilon) -> Self {
        self.limit = Some(limit);
        self
    }

    fn check(&self, shape: [usize; 4]) -> Result<(), AttackError> {
        check_parameter(matches!(self.norm, Norm::L2 | Norm::Linf), "norm", "L2 or Linf", self.norm)?;
        check_parameter(self.steps >= 1, "steps", "at least 1", self.steps)?;
        let [first, most] = self.evaluations;
        check_parameter(first >= 1, "evaluations", "at least 1 at first", first)?;
        check_parameter(most >= first, "evaluations", "at most at least as many as at first", most)?;
        let gamma = self.gamma.is_finite() && self.gamma > 0.0;
        check_parameter(gamma, "gamma", "a finite number above 0", self.gamma)?;
        check_parameter(self.queries != Some(0), "queries", "at least 1", 0)?;
        let Some(starts) = &self.starts else { return Ok(()) };
        let found = starts.dims();
        let fits = found[0] >= 1 && found[1..] == shape[1..];
        check_parameter(fits, "starts", "images of the shape of those attacked", format!("{found:?}"))?;
        let inside = |value: &f32| (0.0..=1.0).contains(value);
        let outside = values(starts.clone()).into_iter().find(|value| !inside(value));
        check_parameter(outside.is_none(), "starts", "pixels in [0,1]", outside.unwrap_or_default())
    }

    /// How far between the image (0) and a point that reaches the goal (1) a bisection ends, and its queries.
    fn resolution(&self, size: usize) -> (f64, usize) {
        let power = if self.norm == Norm::L2 { 1.5 } else { 2.0 };
        let end = self.gamma / (size as f64).powf(power);
        (end, end.recip().log2().ceil().max(0.0) as usize)
    }

    /// Labels asked for in step `done`, counted from 0.
    fn evaluations(&self, done: usize) -> usize {
        let [first, most] = self.evaluations;
        ((first as f64 * ((done + 1) as f64).sqrt()) as usize).min(most)
    }
}

impl Default for HopSkipJump {
    fn default() -> Self {
        Self::new()
    }
}

/// An image on its way.
struct Walk {
    position: usize,
    index: u64,
    original: Vec<f32>,
    /// Reaches the goal.
    point: Vec<f32>,
    queries: usize,
}

impl Walk {
    fn distance(&self, norm: Norm) -> f64 {
        let change: Vec<f64> = self.point.iter().zip(&self.original).map(|(a, b)| f64::from(a - b)).collect();
        norm.measure_values(&change)
    }

    /// Between the original and the point: the share of the way, in L-infinity of the largest change.
    fn towards_point(&self, norm: Norm, share: f64) -> Vec<f32> {
        let bound = (share * self.distance(Norm::Linf)) as f32;
        let share = share as f32;
        let between = |(&point, &original): (&f32, &f32)| match norm {
            Norm::L2 => (1.0 - share) * original + share * point,
            // Not `clamp`, which panics on NaN.
            _ => point.max(original - bound).min(original + bound),
        };
        self.point.iter().zip(&self.original).map(between).collect()
    }

    /// A point near the boundary, for the estimate of the gradient there.
    fn nearby(&self, norm: Norm, radius: f32, seed: u64, parts: [u64; 2]) -> Vec<f32> {
        let mut rng = generator(Purpose::HopSkipJump, seed, &[self.index, parts[0], parts[1]]);
        let direction: Vec<f32> = self
            .point
            .iter()
            .map(|_| match norm {
                Norm::L2 => StandardNormal.sample(&mut rng),
                _ => rng.random_range(-1.0..1.0),
            })
            .collect();
        let length = direction.iter().map(|d| f64::from(d * d)).sum::<f64>().sqrt() as f32 + 1e-12;
        self.point.iter().zip(direction).map(|(p, d)| (p + radius * d / length).clamp(0.0, 1.0)).collect()
    }
}

/// Everything that asks the victim for labels.
struct Oracle<'a> {
    victim: &'a Frozen,
    goal: &'a Goal,
    shape: [usize; 4],
}

impl Oracle<'_> {
    /// Whether each image reaches the goal of its walk, one query each.
    fn reach(&self, walks: &mut [Walk], slots: &[usize], images: &[Vec<f32>]) -> Vec<bool> {
        let [_, channels, height, width] = self.shape;
        slots.iter().for_each(|&slot| walks[slot].queries += 1);
        let chunks = slots.chunks(ROWS).zip(images.chunks(ROWS));
        chunks
            .flat_map(|(slots, images)| {
                let positions: Vec<usize> = slots.iter().map(|&slot| walks[slot].position).collect();
                let data = TensorData::new(images.concat(), [images.len(), channels, height, width]);
                let images = Tensor::<4>::from_data(data, self.victim.device());
                self.goal.select(&positions).reached(self.victim.logits(images))
            })
            .collect()
    }
}

impl HopSkipJump {
    /// Puts a point that reaches the goal into every walk that finds one; false for the others.
    fn start(&self, oracle: &Oracle, walks: &mut [Walk], reserve: usize) -> Vec<bool> {
        let mut ready = vec![false; walks.len()];
        if let Some(starts) = &self.starts {
            self.start_from(oracle, starts, walks, &mut ready);
        }
        let left = |walk: &Walk| self.queries.unwrap_or(usize::MAX).saturating_sub(walk.queries);
        let mut blended = vec![];
        for draw in 0..DIRECTIONS as u64 {
            let open = |&slot: &usize| !ready[slot] && left(&walks[slot]) > BLENDS + reserve;
            let slots: Vec<usize> = (0..walks.len()).filter(open).collect();
            if slots.is_empty() {
                break;
            }
            let noise: Vec<Vec<f32>> = slots
                .par_iter()
                .map(|&slot| {
                    let walk = &walks[slot];
                    let mut rng = generator(Purpose::HopSkipJump, self.seed, &[walk.index, 0, draw]);
                    walk.original.iter().map(|_| rng.random_range(0.0..1.0)).collect()
                })
                .collect();
            let reached = oracle.reach(walks, &slots, &noise);
            for ((slot, noise), _) in
                slots.into_iter().zip(noise).zip(reached).filter(|(_, reached)| *reached)
            {
                (walks[slot].point, ready[slot]) = (noise, true);
                blended.push(slot);
            }
        }
        // The smallest share of noise that is enough; all of it is known to be.
        for blend in 1..BLENDS {
            let images: Vec<Vec<f32>> = blended
                .iter()
                .map(|&slot| walks[slot].towards_point(Norm::L2, blend as f64 / BLENDS as f64))
                .collect();
            let reached = oracle.reach(walks, &blended, &images);
            let found: Vec<(usize, Vec<f32>)> = blended
                .iter()
                .copied()
                .zip(images)
                .zip(&reached)
                .filter(|(_, r)| **r)
                .map(|(f, _)| f)
                .collect();
            found.into_iter().for_each(|(slot, image)| walks[slot].point = image);
            blended = blended.into_iter().zip(reached).filter(|(_, r)| !r).map(|(slot, _)| slot).collect();
            if blended.is_empty() {
                break;
            }
        }
        ready
    }

    /// The nearest of the given images that reaches the goal.
    fn start_from(&self, oracle: &Oracle, starts: &Tensor<4>, walks: &mut [Walk], ready: &mut [bool]) {
        let size = oracle.shape[1..].iter().product();
        let classes = predictions(oracle.victim.logits(starts.clone()));
        let starts = values(starts.clone());
        for (walk, ready) in walks.iter_mut().zip(ready) {
            let class = oracle.goal.classes()[walk.position];
            let mut nearest = f64::INFINITY;
            for (start, &found) in starts.chunks(size).zip(&classes) {
                if (found as i64 == class) != oracle.goal.is_targeted() {
                    continue;
                }
                let before = std::mem::replace(&mut walk.point, start.to_vec());
                let distance = walk.distance(self.norm);
                match distance < nearest {
                    true => (nearest, *ready) = (distance, true),
                    false => walk.point = before,
                }
            }
        }
    }

    /// Moves the points of these walks to the boundary, on the side that reaches the goal.
    fn bisect(&self, oracle: &Oracle, walks: &mut [Walk], slots: &[usize]) {
        let (_, halvings) = self.resolution(walks[0].original.len());
        let mut ranges = vec![(0.0, 1.0); slots.len()];
        let mut nearest: Vec<Option<Vec<f32>>> = vec![None; slots.len()];
        for _ in 0..halvings {
            let images: Vec<Vec<f32>> = slots
                .iter()
                .zip(&ranges)
                .map(|(&slot, (low, high))| walks[slot].towards_point(self.norm, (low + high) / 2.0))
                .collect();
            let reached = oracle.reach(walks, slots, &images);
            for (i, (image, reached)) in images.into_iter().zip(reached).enumerate() {
                let (low, high) = ranges[i];
                let middle = (low + high) / 2.0;
                ranges[i] = if reached { (low, middle) } else { (middle, high) };
                if reached {
                    nearest[i] = Some(image);
                }
            }
        }
        for (&slot, nearest) in slots.iter().zip(nearest) {
            if let Some(nearest) = nearest {
                walks[slot].point = nearest;
            }
        }
    }

    /// The direction in which each of these walks' goals is reached most surely, of length one.
    fn directions(&self, oracle: &Oracle, walks: &mut [Walk], slots: &[usize], done: usize) -> Vec<Vec<f32>> {
        let size = walks[0].original.len();
        let evaluations = self.evaluations(done);
        let radii: Vec<f32> = slots
            .iter()
            .map(|&slot| match done {
                0 => 0.1,
                _ => (self.gamma * walks[slot].distance(self.norm) / size as f64) as f32,
            })
            .collect();
        // Of all differences, and of those that reach the goal less the others.
        let mut sums = vec![(vec![0.0f64; size], vec![0.0f64; size], 0i64); slots.len()];
        let rows: Vec<(usize, u64)> =
            (0..slots.len()).flat_map(|i| (0..evaluations as u64).map(move |draw| (i, draw))).collect();
        for rows in rows.chunks(ROWS) {
            let images: Vec<Vec<f32>> = rows
                .par_iter()
                .map(|&(i, draw)| {
                    walks[slots[i]].nearby(self.norm, radii[i], self.seed, [done as u64 + 1, draw])
                })
                .collect();
            let asked: Vec<usize> = rows.iter().map(|&(i, _)| slots[i]).collect();
            let reached = oracle.reach(walks, &asked, &images);
            for ((&(i, _), image), reached) in rows.iter().zip(images).zip(reached) {
                let (all, signed, label) = (&mut sums[i].0, &mut sums[i].1, if reached { 1.0 } else { -1.0 });
                for (j, (&near, &point)) in image.iter().zip(&walks[slots[i]].point).enumerate() {
                    let difference = f64::from((near - point) / (radii[i] + 1e-8));
                    all[j] += difference;
                    signed[j] += label * difference;
                }
                sums[i].2 += label as i64;
            }
        }
        sums.into_iter()
            .map(|(all, signed, labels)| {
                let mean = labels as f64 / evaluations as f64;
                let baseline = if mean.abs() == 1.0 { 0.0 } else { mean };
                let estimate: Vec<f64> = signed.iter().zip(all).map(|(s, a)| s - baseline * a).collect();
                let length = Norm::L2.measure_values(&estimate).max(f64::MIN_POSITIVE);
                estimate
                    .into_iter()
                    .map(
                        |e| if self.norm == Norm::L2 { e / length } else { e.signum() * f64::from(e != 0.0) },
                    )
                    .map(|e| e as f32)
                    .collect()
            })
            .collect()
    }

    /// Steps of these walks in their directions, as long as the goal stays reached.
    fn advance(
        &self,
        oracle: &Oracle,
        walks: &mut [Walk],
        slots: &[usize],
        directions: &[Vec<f32>],
        done: usize,
    ) {
        let reserve = self.resolution(walks[0].original.len()).1;
        let mut sizes: Vec<f64> =
            slots.iter().map(|&slot| walks[slot].distance(self.norm) / ((done + 1) as f64).sqrt()).collect();
        let mut open: Vec<usize> = (0..slots.len()).collect();
        for _ in 0..HALVINGS {
            let left = |&i: &usize| self.queries.is_none_or(|most| walks[slots[i]].queries + reserve < most);
            open.retain(left);
            if open.is_empty() {
                return;
            }
            let images: Vec<Vec<f32>> = open
                .iter()
                .map(|&i| {
                    let moved = |(p, d): (&f32, &f32)| (p + sizes[i] as f32 * d).clamp(0.0, 1.0);
                    walks[slots[i]].point.iter().zip(&directions[i]).map(moved).collect()
                })
                .collect();
            let asked: Vec<usize> = open.iter().map(|&i| slots[i]).collect();
            let reached = oracle.reach(walks, &asked, &images);
            for ((&i, image), &reached) in open.iter().zip(images).zip(&reached) {
                match reached {
                    true => walks[slots[i]].point = image,
                    false => sizes[i] /= 2.0,
                }
            }
            open = open.into_iter().zip(reached).filter(|(_, reached)| !reached).map(|(i, _)| i).collect();
        }
    }
}

impl Attack for HopSkipJump {
    fn name(&self) -> &'static str {
        NAME
    }

    fn norm(&self) -> Norm {
        self.norm
    }

    fn epsilon(&self) -> Option<Epsilon> {
        self.limit
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(self.clone().with_limit(epsilon))
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        check(victim, &images, goal, self.limit)?;
        let shape = images.dims();
        self.check(shape)?;
        let images = images.inner();
        if images.shape().num_elements() == 0 {
            return Ok(images);
        }
        step(victim, NAME, 0, self.steps)?;
        let reached = goal.reached(victim.logits(images.clone()));
        let size = shape[1..].iter().product();
        let mut walks: Vec<Walk> = values(images.clone())
            .chunks(size)
            .enumerate()
            .filter(|(position, _)| !reached[*position])
            .map(|(position, original)| Walk {
                position,
                index: goal.index(position),
                original: original.to_vec(),
                point: original.to_vec(),
                queries: 1,
            })
            .collect();
        let mut best = Best::new(images.clone(), self.norm, self.limit);
        let oracle = Oracle { victim, goal, shape };
        let halvings = self.resolution(size).1;
        let ready = self.start(&oracle, &mut walks, halvings);
        let mut ready = ready.into_iter();
        walks.retain(|_| ready.next() == Some(true));
        let affords = |walk: &Walk, cost: usize| self.queries.is_none_or(|most| walk.queries + cost <= most);
        // A start of the caller's is known to reach the goal, also where no query is left to come nearer.
        let offer = |best: &mut Best, walks: &[Walk]| {
            let positions: Vec<usize> = walks.iter().map(|walk| walk.position).collect();
            let points: Vec<f32> = walks.iter().flat_map(|walk| walk.point.iter().copied()).collect();
            let shape = [positions.len(), shape[1], shape[2], shape[3]];
            let points = Tensor::from_data(TensorData::new(points, shape), &images.device());
            best.offer(&positions, &points, &vec![true; positions.len()]);
        };
        offer(&mut best, &walks);
        walks.retain(|walk| affords(walk, halvings));
        let all: Vec<usize> = (0..walks.len()).collect();
        if !all.is_empty() {
            self.bisect(&oracle, &mut walks, &all);
            offer(&mut best, &walks);
        }
        for done in 0..self.steps {
            walks.retain(|walk| affords(walk, self.evaluations(done) + halvings + 1));
            if walks.is_empty() {
                break;
            }
            step(victim, NAME, done, self.steps)?;
            let all: Vec<usize> = (0..walks.len()).collect();
            let directions = self.directions(&oracle, &mut walks, &all, done);
            self.advance(&oracle, &mut walks, &all, &directions, done);
            self.bisect(&oracle, &mut walks, &all);
            offer(&mut best, &walks);
        }
        Ok(best.into_images())
    }
}
