//! The fast adaptive boundary attack.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::super::base::{check, check_parameter, finite_or_zero, step};
use super::super::classes::{others, pick};
use super::super::draw::direction;
use super::super::rows::{take, values};
use super::super::{Attack, AttackError, Goal, Norm};
use super::projection::project;
use crate::classifier::Frozen;
use crate::pixels::Epsilon;
use crate::random::{Purpose, generator};

/// Smallest distance in the weight between the two projections, and in a division, as in the reference.
const SHORTEST: f64 = 1e-8;
const TINY: f64 = 1e-12;

/// The fast adaptive boundary attack: steps between projections onto the linearised decision boundary, of the
/// current point and of the original, towards the smallest perturbation.
///
/// Croce & Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML 2020,
/// algorithm 1; with targets FAB-T, which looks at the boundary to one other class a run, as AutoAttack uses it.
/// As the authors' implementation (`pyautoattack` 0.2.0 on PyPI), but that a restart begins within half the smallest
/// perturbation found so far, as in the paper, where that is below the restart radius.
///
/// Images that are misclassified already, and those for which nothing is found within the limit, come back as they
/// are. Once an image has a perturbation within the limit, later runs leave it out. A step of the untargeted attack
/// costs a gradient for every other class, of FAB-T one gradient.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | norm | L-infinity | L-infinity, L2, L1 |
/// | limit | none | finite, at least 0 |
/// | steps | 100 | at least 1 |
/// | restarts: runs, the first from the image itself | 1 | at least 1 |
/// | targets: runs each towards one of the likeliest other classes | none | 1 to one less than the classes |
/// | alpha max: largest pull to the original | 0.1 | 0 to 1 |
/// | eta: overshoot past the boundary | 1.05 | finite, at least 1 |
/// | beta: step back from an adversarial point | 0.9 | 0 to 1 |
/// | seed | 0 | any |
///
/// Restarts begin within half the limit; without one, within half of 0.3, 1 or 5 (L-infinity, L2, L1).
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone().neg() + 0.5, bright - 0.5], 1)
/// });
/// let image = Tensor::full([1, 1, 4, 4], 0.6, &device);
/// let adversarial = Fab::new(Norm::Linf).perturb(&victim, image.clone(), &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(adversarial.clone()), [0]);
/// let size: f32 = Norm::Linf.measure(adversarial - image).into_scalar();
/// assert!((size - 0.1).abs() < 0.01);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fab {
    norm: Norm,
    limit: Option<Epsilon>,
    steps: usize,
    restarts: usize,
    targets: Option<usize>,
    alpha_max: f64,
    eta: f64,
    beta: f64,
    seed: u64,
}

/// The smallest perturbed version of each image so far.
struct Found {
    images: Vec<f32>,
    sizes: Vec<f64>,
}

impl Fab {
    /// Untargeted FAB in this norm: 100 steps from the image itself.
    pub fn new(norm: Norm) -> Self {
        Self {
            norm,
            limit: None,
            steps: 100,
            restarts: 1,
            targets: None,
            alpha_max: 0.1,
            eta: 1.05,
            beta: 0.9,
            seed: 0,
        }
    }

    /// The same with a bound past which a perturbation does not count.
    pub fn with_limit(mut self, limit: Epsilon) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The same with so many steps a run.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// The same with so many runs, all but the first from random starts.
    pub fn with_restarts(mut self, restarts: usize) -> Self {
        self.restarts = restarts;
        self
    }

    /// FAB-T: runs towards each of so many of the likeliest other classes.
    pub fn with_targets(mut self, targets: usize) -> Self {
        self.targets = Some(targets);
        self
    }

    /// The same with another largest pull to the original.
    pub fn with_alpha_max(mut self, alpha_max: f64) -> Self {
        self.alpha_max = alpha_max;
        self
    }

    /// The same with another overshoot.
    pub fn with_eta(mut self, eta: f64) -> Self {
        self.eta = eta;
        self
    }

    /// The same with another step back from an adversarial point.
    pub fn with_beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// The same with other random restarts.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    fn check_parameters(&self, goal: &Goal, classes: usize) -> Result<(), AttackError> {
        let unit = 0.0..=1.0;
        check_parameter(!goal.is_targeted(), "goal", "an untargeted one", "a targeted one")?;
        check_parameter(self.norm != Norm::L0, "norm", "Linf, L2 or L1", self.norm)?;
        check_parameter(self.steps > 0, "steps", "at least 1", self.steps)?;
        check_parameter(self.restarts > 0, "restarts", "at least 1", self.restarts)?;
        check_parameter(unit.contains(&self.alpha_max), "alpha_max", "a number from 0 to 1", self.alpha_max)?;
        check_parameter(unit.contains(&self.beta), "beta", "a number from 0 to 1", self.beta)?;
        let eta = self.eta.is_finite() && self.eta >= 1.0;
        check_parameter(eta, "eta", "a finite number of at least 1", self.eta)?;
        let targets = self.targets.unwrap_or(1);
        let range = "from 1 to one less than the classes";
        check_parameter((1..classes).contains(&targets), "targets", range, targets)
    }

    fn radius(&self) -> f64 {
        match (self.limit, self.norm) {
            (Some(limit), _) => limit.value(),
            (None, Norm::Linf) => 0.3,
            (None, Norm::L2) => 1.0,
            (None, _) => 5.0,
        }
    }

    /// The points that run number `run` starts from.
    fn start(&self, clean: &[f32], sizes: &[f64], goal: &Goal, run: usize) -> Vec<f32> {
        let size = clean.len() / sizes.len();
        let mut points = clean.to_vec();
        if run.is_multiple_of(self.restarts) {
            return points;
        }
        points.par_chunks_mut(size).enumerate().for_each(|(image, point)| {
            let mut rng = generator(Purpose::Fab, self.seed, &[goal.index(image), run as u64]);
            let noise = direction(self.norm, size, &mut rng);
            let scale = 0.5 * sizes[image].min(self.radius()) / self.norm.measure_values(&noise);
            for (pixel, noise) in point.iter_mut().zip(noise) {
                *pixel = ((f64::from(*pixel) + noise * scale) as f32).clamp(0.0, 1.0);
            }
        });
        points
    }

    /// One run: improves on what was found. `targets` are the other classes whose boundaries are looked at, each
    /// with one class an image.
    fn run(
        &self,
        victim: &Frozen,
        clean: &Tensor<4>,
        goal: &Goal,
        targets: &[Vec<i64>],
        (run, runs): (usize, usize),
        found: &mut Found,
    ) -> Result<(), AttackError> {
        let shape = clean.dims();
        let size = shape[1..].iter().product::<usize>();
        let tensor =
            |pixels: &[f32]| Tensor::from_data(TensorData::new(pixels.to_vec(), shape), &clean.device());
        let clean = values(clean.clone());
        let mut points = self.start(&clean, &found.sizes, goal, run);
        for done in 0..self.steps {
            step(victim, self.name(), run * self.steps + done, runs * self.steps)?;
            let planes = self.nearest_planes(victim, tensor(&points), goal, targets);
            points
                .par_chunks_mut(size)
                .zip(clean.par_chunks(size))
                .zip(planes.par_iter())
                .for_each(|((point, clean), plane)| self.advance(point, clean, plane));
            let reached = goal.reached(victim.logits(tensor(&points)));
            for image in (0..shape[0]).filter(|&image| reached[image]) {
                let range = image * size..(image + 1) * size;
                let (point, clean) = (&mut points[range.clone()], &clean[range.clone()]);
                let change: Vec<f64> =
                    point.iter().zip(clean).map(|(&p, &c)| f64::from(p) - f64::from(c)).collect();
                let length = self.norm.measure_values(&change);
                if length < found.sizes[image] {
                    found.sizes[image] = length;
                    found.images[range].copy_from_slice(point);
                }
                for ((pixel, &clean), change) in point.iter_mut().zip(clean).zip(change) {
                    *pixel = (f64::from(clean) + change * self.beta) as f32;
                }
            }
        }
        Ok(())
    }

    /// The linearised boundary nearest to each point.
    fn nearest_planes(
        &self,
        victim: &Frozen,
        points: Tensor<4>,
        goal: &Goal,
        targets: &[Vec<i64>],
    ) -> Vec<Plane> {
        let dual = match self.norm {
            Norm::Linf => Norm::L1,
            Norm::L1 => Norm::Linf,
            norm => norm,
        };
        let count = points.dims()[0];
        let size = points.dims()[1..].iter().product::<usize>();
        let mut nearest: Vec<Plane> = (0..count)
            .map(|_| Plane { excess: 0.0, normal: vec![0.0; size], distance: f64::INFINITY })
            .collect();
        for other in targets {
            let difference = |logits: Tensor<2>| pick(logits.clone(), other) - pick(logits, goal.classes());
            let found = victim.input_gradient(points.clone(), difference);
            let gradient = finite_or_zero(found.gradient);
            let lengths = values(dual.measure(gradient.clone()));
            let (gradient, differences) = (values(gradient), values(difference(found.logits)));
            for (image, plane) in nearest.iter_mut().enumerate() {
                let excess = f64::from(differences[image]);
                let distance = excess.abs() / (f64::from(lengths[image]) + TINY);
                if distance < plane.distance {
                    *plane = Plane { excess, normal: gradient[image * size..][..size].to_vec(), distance };
                }
            }
        }
        nearest
    }

    /// Algorithm 1, lines 7 to 11: a step of one image.
    fn advance(&self, point: &mut [f32], clean: &[f32], plane: &Plane) {
        let way: f64 = (0..point.len())
            .map(|i| f64::from(plane.normal[i]) * (f64::from(clean[i]) - f64::from(point[i])))
            .sum();
        let here = project(self.norm, point, &plane.normal, plane.excess);
        let there = project(self.norm, clean, &plane.normal, plane.excess + way);
        let [a, b] = [&here, &there].map(|d| self.norm.measure_values(d).max(SHORTEST));
        let alpha = (a / (a + b)).min(self.alpha_max);
        for i in 0..point.len() {
            let moved = f64::from(point[i]) + self.eta * here[i];
            let original = f64::from(clean[i]) + self.eta * there[i];
            point[i] = (moved * (1.0 - alpha) + original * alpha).clamp(0.0, 1.0) as f32;
        }
    }
}

/// A linearised decision boundary: how far a point's logits lie past it, and the gradient of that.
struct Plane {
    excess: f64,
    normal: Vec<f32>,
    distance: f64,
}

impl Attack for Fab {
    fn name(&self) -> &'static str {
        if self.targets.is_some() { "FAB-T" } else { "FAB" }
    }

    fn norm(&self) -> Norm {
        self.norm
    }

    fn epsilon(&self) -> Option<Epsilon> {
        self.limit
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(self.with_limit(epsilon))
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        check(victim, &images, goal, self.limit)?;
        let classes = victim.num_classes();
        self.check_parameters(goal, classes)?;
        let images = images.inner();
        let shape = images.dims();
        if self.limit == Some(Epsilon::ZERO) || images.shape().num_elements() == 0 {
            return Ok(images);
        }
        let size = shape[1..].iter().product::<usize>();
        let logits = victim.logits(images.clone());
        let wrong = goal.reached(logits.clone());
        let others = others(logits, goal.classes());
        let mut best = Found { images: values(images.clone()), sizes: vec![f64::INFINITY; shape[0]] };
        let limit = self.limit.map_or(f64::INFINITY, Epsilon::value);
        // Without a limit a perturbation never counts as small enough.
        let enough = self.limit.map_or(f64::NEG_INFINITY, Epsilon::value);
        let runs = self.targets.unwrap_or(1) * self.restarts;
        for run in 0..runs {
            let left: Vec<usize> = (0..shape[0]).filter(|&i| !wrong[i] && best.sizes[i] > enough).collect();
            if left.is_empty() {
                break;
            }
            let column = |rank: usize| left.iter().map(|&i| others[i][rank]).collect();
            let targets: Vec<Vec<i64>> = match self.targets {
                Some(_) => vec![column(run / self.restarts)],
                None => (0..classes - 1).map(column).collect(),
            };
            let mut found = Found {
                images: left.iter().flat_map(|&i| best.images[i * size..][..size].to_vec()).collect(),
                sizes: left.iter().map(|&i| best.sizes[i]).collect(),
            };
            let (clean, goal) = (take(&images, &left), goal.select(&left));
            self.run(victim, &clean, &goal, &targets, (run, runs), &mut found)?;
            for (i, &position) in left.iter().enumerate() {
                best.sizes[position] = found.sizes[i];
                best.images[position * size..][..size].copy_from_slice(&found.images[i * size..][..size]);
            }
        }
        let original = values(images.clone());
        for image in (0..shape[0]).filter(|&image| best.sizes[image] > limit) {
            best.images[image * size..][..size].copy_from_slice(&original[image * size..][..size]);
        }
        Ok(Tensor::from_data(TensorData::new(best.images, shape), &images.device()))
    }
}
