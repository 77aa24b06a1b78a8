//! HopSkipJump, which sees nothing of the victim but its labels.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::walk::{Oracle, ROWS, Walk};
use crate::attack::base::{check, check_parameter, step};
use crate::attack::best::Best;
use crate::attack::parameters::{above_zero, at_least_one};
use crate::attack::rows::values;
use crate::attack::{Access, Attack, AttackError, Goal, Norm};
use crate::classifier::Frozen;
use crate::pixels::Epsilon;

const NAME: &str = "HopSkipJump";

/// Halvings of a step before it counts as no step: past the resolution of a pixel.
const HALVINGS: usize = 40;

/// HopSkipJump: walks along the decision boundary towards the image, by labels alone.
///
/// Chen, Jordan & Wainwright, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack", S&P 2020,
/// algorithm 2: from an image that reaches the goal, bisect to the boundary; estimate the gradient there from
/// the labels of `B_t = B_0 * sqrt(t)` nearby points at the distance `gamma * d_t / n`, with the mean label as
/// baseline; step by `d_t / sqrt(t)`, halved until the goal is reached; bisect again. n is the number of values
/// of an image, d_t its distance after t steps; the bisection ends at `gamma / n^1.5` of the way in L2, at
/// `gamma / n^2` in L-infinity. As foolbox's `HopSkipJumpAttack` for one image (its batches share one
/// normalisation of the estimates), except that the nearest of all steps is returned.
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
    pub(super) norm: Norm,
    steps: usize,
    evaluations: [usize; 2],
    gamma: f64,
    pub(super) queries: Option<usize>,
    pub(super) starts: Option<Tensor<4>>,
    pub(super) seed: u64,
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
        at_least_one("steps", self.steps)?;
        let [first, most] = self.evaluations;
        check_parameter(first >= 1, "evaluations", "at least 1 at first", first)?;
        check_parameter(most >= first, "evaluations", "at most at least as many as at first", most)?;
        above_zero("gamma", self.gamma)?;
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

impl HopSkipJump {
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
                let (all, signed, labels) = &mut sums[i];
                let label = if reached { 1.0 } else { -1.0 };
                for (j, (&near, &point)) in image.iter().zip(&walks[slots[i]].point).enumerate() {
                    let difference = f64::from((near - point) / (radii[i] + 1e-8));
                    all[j] += difference;
                    signed[j] += label * difference;
                }
                *labels += label as i64;
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

    fn access(&self) -> Access {
        Access::Label
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
        if walks.is_empty() {
            return Ok(images);
        }
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
