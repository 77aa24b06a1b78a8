//! The fast adaptive boundary attack.

use super::projection::project;
use crate::attack::prelude::*;
use crate::attack::steps::Smallest;
use crate::attack::targets_among;
use crate::classifier::{InputGradient, column, others};
use crate::pixels::{change, changed, direction};
use crate::rows::each;

/// Smallest distance in the weight between the two projections, and in a division, as in the reference.
const SHORTEST: f64 = 1e-8;
const TINY: f64 = 1e-12;

/// The fast adaptive boundary attack: steps between projections onto the linearised decision boundary, of the
/// current point and of the original, towards the smallest perturbation.
///
/// Croce & Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML 2020,
/// algorithm 1; with targets FAB-T, which looks at the boundary to one other class a run, as AutoAttack uses
/// it. As the authors' implementation (`pyautoattack` 0.2.0 on PyPI), but that a restart begins within half
/// the smallest perturbation found so far, as in the paper, where that is below the restart radius.
///
/// Images that are misclassified already, and those for which nothing is found within the limit, come back as
/// they are. Once an image has a perturbation within the limit, later runs leave it out. A step of the
/// untargeted attack costs a gradient for every other class, of FAB-T one gradient.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | norm | required | Linf, L2 or L1 |
/// | limit | none | a budget in the attack's norm |
/// | steps | 100 | at least 1 |
/// | restarts: runs, the first from the image itself | 1 | at least 1 |
/// | targets: runs each towards one of the likeliest other classes | none | from 1 to one less than the classes |
/// | alpha max: largest pull to the original | 0.1 | a number from 0 to 1 |
/// | eta: overshoot past the boundary | 1.05 | a finite number of at least 1 |
/// | beta: step back from an adversarial point | 0.9 | a number from 0 to 1 |
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
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Fab {
    /// The norm in which the smallest perturbation is looked for.
    pub norm: Norm,
    /// The largest perturbation that counts.
    pub limit: Option<Budget>,
    /// Number of steps a run.
    #[config(default = 100)]
    pub steps: usize,
    /// Number of runs, all but the first from random starts; with targets, of runs a target.
    #[config(default = 1)]
    pub restarts: usize,
    /// FAB-T: each run goes towards one of so many of the likeliest other classes.
    pub targets: Option<usize>,
    /// The largest pull to the original.
    #[config(default = 0.1)]
    pub alpha_max: f64,
    /// The overshoot past the boundary.
    #[config(default = 1.05)]
    pub eta: f64,
    /// The step back from an adversarial point.
    #[config(default = 0.9)]
    pub beta: f64,
    /// The seed of the random starts.
    #[config(default = 0)]
    pub seed: u64,
}

/// A linearised decision boundary: how far a point's logits lie past it, and the gradient of that.
#[derive(Clone)]
struct Plane {
    excess: f64,
    normal: Vec<f32>,
    distance: f64,
}

impl Fab {
    fn runs(&self) -> usize {
        self.targets.unwrap_or(1) * self.restarts
    }

    fn radius(&self) -> f64 {
        match (self.limit, self.norm) {
            (Some(limit), _) => limit.size(),
            (None, Norm::Linf) => 0.3,
            (None, Norm::L2) => 1.0,
            (None, _) => 5.0,
        }
    }

    /// Where a run starts: at the images, or at random within half the radius, or half of what was found.
    fn start(&self, task: &Task<'_>, found: &Smallest) -> Tensor<4> {
        if (task.run() as usize).is_multiple_of(self.restarts) {
            return task.images();
        }
        let (draws, sizes) = (task.draws_of_run(Purpose::FAB, self.seed), found.sizes(task.positions()));
        each(&task.images(), |row, image| {
            let noise = draws.numbers(row, image.len(), |size, rng| direction(self.norm, size, rng));
            let scale = 0.5 * sizes[row].min(self.radius()) / self.norm.measure_values(&noise);
            changed(image, noise.into_iter().map(|noise| noise * scale))
        })
    }

    /// The other classes whose boundaries a run looks at, each with one class an image.
    fn targets(&self, run: usize, others: &[Vec<i64>]) -> Vec<Vec<i64>> {
        match self.targets {
            Some(_) => vec![column(others, run / self.restarts)],
            None => (0..others[0].len()).map(|rank| column(others, rank)).collect(),
        }
    }

    /// One run: improves on what was found.
    fn run(&self, task: &Task<'_>, others: &[Vec<i64>], found: &mut Smallest) -> Result<(), AttackError> {
        let targets = self.targets(task.run() as usize, others);
        let (size, clean, mut points) = (task.size(), values(task.images()), self.start(task, found));
        let clean = |row: usize| &clean[row * size..][..size];
        for _ in 0..self.steps {
            task.step()?;
            let planes = self.nearest_planes(task, &points, &targets);
            let moved = each(&points, |row, point| self.advance(point, clean(row), &planes[row]));
            let reached = found.ask(task, &moved);
            points = each(&moved, |row, point| {
                if !reached[row] {
                    return point.to_vec();
                }
                changed(clean(row), change(clean(row), point).into_iter().map(|c| c * self.beta))
            });
        }
        Ok(())
    }

    /// The linearised boundary nearest to each point.
    fn nearest_planes(&self, task: &Task<'_>, points: &Tensor<4>, targets: &[Vec<i64>]) -> Vec<Plane> {
        let size = task.size();
        let none = Plane { excess: 0.0, normal: vec![0.0; size], distance: f64::INFINITY };
        let mut nearest = vec![none; task.len()];
        for other in targets {
            let lead = |logits| task.goal().lead(logits, other);
            let InputGradient { logits, gradient } = task.gradient(points, lead);
            let lengths = values(self.norm.dual().measure(gradient.clone()));
            let (gradient, excesses) = (values(gradient), values(lead(logits)));
            for (row, plane) in nearest.iter_mut().enumerate() {
                let excess = f64::from(excesses[row]);
                let distance = excess.abs() / (f64::from(lengths[row]) + TINY);
                if distance < plane.distance {
                    *plane = Plane { excess, normal: gradient[row * size..][..size].to_vec(), distance };
                }
            }
        }
        nearest
    }

    /// Algorithm 1, lines 7 to 11: a step of one image.
    fn advance(&self, point: &[f32], clean: &[f32], plane: &Plane) -> Vec<f32> {
        let back = change(point, clean).into_iter().zip(&plane.normal);
        let way: f64 = back.map(|(change, &weight)| f64::from(weight) * change).sum();
        let here = project(self.norm, point, &plane.normal, plane.excess);
        let there = project(self.norm, clean, &plane.normal, plane.excess + way);
        let [a, b] = [&here, &there].map(|d| self.norm.measure_values(d).max(SHORTEST));
        let alpha = (a / (a + b)).min(self.alpha_max);
        let pixel = |i: usize| {
            let moved = f64::from(point[i]) + self.eta * here[i];
            let original = f64::from(clean[i]) + self.eta * there[i];
            (moved * (1.0 - alpha) + original * alpha).clamp(0.0, 1.0) as f32
        };
        (0..point.len()).map(pixel).collect()
    }
}

impl Attack for Fab {
    fn profile(&self) -> Profile {
        let steps = self.runs() * self.steps;
        // Without targets as many gradients a step as the victim has other classes.
        let queries = self.targets.map(|_| Queries::forwards(1 + steps) + Queries::gradients(steps));
        let name = if self.targets.is_some() { "FAB-T" } else { "FAB" };
        Profile::smallest(name, (self.norm, self.limit), Access::Gradients, steps, queries).untargeted()
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        vec![
            norm_among(self.norm, &[Norm::Linf, Norm::L2, Norm::L1]),
            Parameter::at_least("steps", self.steps, 1),
            Parameter::at_least("restarts", self.restarts, 1),
            targets_among(task.victim().num_classes(), self.targets.unwrap_or(1)),
            Parameter::within("alpha max", self.alpha_max, 0.0..=1.0),
            Parameter::finite_from("eta", self.eta, 1.0),
            Parameter::within("beta", self.beta, 0.0..=1.0),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { norm: budget.norm(), limit: Some(budget), ..*self })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Smallest::search(&task, (self.norm, self.limit), 0.0, |task, logits, found| {
            let others = others(logits, task.goal().classes());
            for run in 0..self.runs() {
                let sizes = found.sizes(task.positions());
                // Without a limit a perturbation never counts as small enough.
                let open = |&row: &usize| self.limit.is_none() || !sizes[row].is_finite();
                let left: Vec<usize> = (0..sizes.len()).filter(open).collect();
                if left.is_empty() {
                    break;
                }
                self.run(&task.keep(&left).in_run(run), &others.keep(&left), found)?;
            }
            Ok(())
        })
    }
}
