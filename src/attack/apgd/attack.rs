//! Auto-PGD.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::super::base::{check, check_parameter};
use super::super::classes::others;
use super::super::draw::direction;
use super::super::rows::{put, take};
use super::super::{Attack, AttackError, Goal, Norm};
use super::loss::{ApgdLoss, Objective};
use super::run::{Outcome, Run};
use super::sparse;
use crate::classifier::Frozen;
use crate::pixels::Epsilon;
use crate::random::{Purpose, generator};

/// Auto-PGD: projected gradient steps with momentum whose size halves by itself where the loss stalls.
///
/// Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
/// attacks", ICML 2020, algorithm 1; for L1 the sparse steps and the projection onto the ball within the box of
/// Croce & Hein, "Mind the box", ICML 2021. As the authors' implementation (`pyautoattack` 0.2.0 on PyPI),
/// image for image from the same start, but that an image stops where it reaches the goal.
///
/// An image that does not reach the goal comes back as the point of highest loss.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | epsilon | required | finite, at least 0 |
/// | norm | L-infinity | L-infinity, L2, L1 |
/// | loss | cross-entropy | see [`ApgdLoss`] |
/// | steps | 100 | at least 1 |
/// | restarts | 1 | at least 1; 1 without random start |
/// | rho: share of steps that must raise the loss | 0.75 | 0 to 1 |
/// | random start | yes | |
/// | multi-epsilon: 30 % of the steps at 3 and at 2 epsilon first | no | L1 only |
/// | best loss: all steps, the point of highest loss | no | |
/// | seed | 0 | any |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
///     Tensor::cat(vec![bright.clone().neg() + 0.5, bright - 0.5], 1)
/// });
/// let attack = Apgd::new(Epsilon::unit(0.2)).with_loss(ApgdLoss::Margin).with_steps(20);
/// let image = Tensor::full([1, 1, 4, 4], 0.6, &device);
/// let adversarial = attack.perturb(&victim, image, &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(adversarial), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Apgd {
    epsilon: Epsilon,
    norm: Norm,
    loss: ApgdLoss,
    steps: usize,
    restarts: usize,
    rho: f64,
    random_start: bool,
    multi_epsilon: bool,
    best_loss: bool,
    seed: u64,
}

impl Apgd {
    /// APGD on the cross-entropy with an L-infinity budget: 100 steps from one random start.
    pub fn new(epsilon: Epsilon) -> Self {
        Self {
            epsilon,
            norm: Norm::Linf,
            loss: ApgdLoss::CrossEntropy,
            steps: 100,
            restarts: 1,
            rho: 0.75,
            random_start: true,
            multi_epsilon: false,
            best_loss: false,
            seed: 0,
        }
    }

    /// The same in another norm; epsilon is then that norm over the whole image.
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// The same with another loss.
    pub fn with_loss(mut self, loss: ApgdLoss) -> Self {
        self.loss = loss;
        self
    }

    /// The same with so many steps a run.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// The same with so many runs from different random starts, an image leaving once it reached the goal.
    pub fn with_restarts(mut self, restarts: usize) -> Self {
        self.restarts = restarts;
        self
    }

    /// The same with another share of steps that must raise the loss between checkpoints.
    pub fn with_rho(mut self, rho: f64) -> Self {
        self.rho = rho;
        self
    }

    /// With a random start, or from the images themselves.
    pub fn with_random_start(mut self, random_start: bool) -> Self {
        self.random_start = random_start;
        self
    }

    /// With or without a start at larger budgets: 30 % of the steps at three times epsilon, 30 % at twice, the
    /// rest at epsilon (Croce & Hein 2021, section 3.3).
    pub fn with_multi_epsilon(mut self, multi_epsilon: bool) -> Self {
        self.multi_epsilon = multi_epsilon;
        self
    }

    /// Whether every image takes all steps and comes back as its point of highest loss, instead of stopping at
    /// the first point that reaches the goal.
    pub fn with_best_loss(mut self, best_loss: bool) -> Self {
        self.best_loss = best_loss;
        self
    }

    /// The same with other random starts.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    fn check_parameters(&self, goal: &Goal, classes: usize) -> Result<(), AttackError> {
        check_parameter(self.norm != Norm::L0, "norm", "Linf, L2 or L1", self.norm)?;
        check_parameter(self.steps > 0, "steps", "at least 1", self.steps)?;
        check_parameter(self.restarts > 0, "restarts", "at least 1", self.restarts)?;
        check_parameter(
            self.random_start || self.restarts == 1,
            "restarts",
            "1 without random start",
            self.restarts,
        )?;
        check_parameter((0.0..=1.0).contains(&self.rho), "rho", "a number from 0 to 1", self.rho)?;
        check_parameter(
            !self.multi_epsilon || self.norm == Norm::L1,
            "norm",
            "L1 for several epsilons",
            self.norm,
        )?;
        self.loss.check(goal, classes)
    }

    /// Factors on epsilon with the steps at each.
    fn stages(&self) -> Vec<(f64, usize)> {
        if !self.multi_epsilon {
            return vec![(1.0, self.steps)];
        }
        let early = (3 * self.steps).div_ceil(10).min((self.steps - 1) / 2);
        vec![(3.0, early), (2.0, early), (1.0, self.steps - 2 * early)]
    }

    /// The points that run number `run` starts from.
    fn start(&self, clean: &Tensor<4>, goal: &Goal, run: usize, epsilon: f64) -> Tensor<4> {
        if !self.random_start {
            return clean.clone();
        }
        let shape = clean.dims();
        let size = shape[1..].iter().product::<usize>();
        let mut change = vec![0f32; shape[0] * size];
        change.par_chunks_mut(size.max(1)).enumerate().for_each(|(image, change)| {
            let mut rng = generator(Purpose::Start, self.seed, &[goal.index(image), run as u64]);
            let noise = direction(self.norm, size, &mut rng);
            // L1 keeps the noise as it is: projected onto the ball, it is sparse.
            let scale = if self.norm == Norm::L1 { 1.0 } else { epsilon / self.norm.measure_values(&noise) };
            change.iter_mut().zip(noise).for_each(|(c, n)| *c = (n * scale) as f32);
        });
        let start = clean.clone() + Tensor::from_data(TensorData::new(change, shape), &clean.device());
        if self.norm == Norm::L1 { sparse::project(clean, &start, epsilon) } else { start.clamp(0.0, 1.0) }
    }

    /// Run number `run` of `runs` on these images.
    fn run(
        &self,
        victim: &Frozen,
        clean: Tensor<4>,
        objective: Objective,
        run: usize,
        runs: usize,
    ) -> Result<Outcome, AttackError> {
        let stages = self.stages();
        let epsilon = self.epsilon.value();
        let mut start = self.start(&clean, &objective.goal, run, stages[0].0 * epsilon);
        let mut before = run * self.steps;
        let mut stage = |start, objective, factor: f64, steps, last: bool| {
            let run = Run {
                victim,
                name: self.name(),
                norm: self.norm,
                epsilon: factor * epsilon,
                rho: self.rho,
                steps,
                early_stop: last && !self.best_loss,
                resumed: self.multi_epsilon,
                progress: (before, runs * self.steps),
            };
            before += steps;
            run.from(clean.clone(), start, objective)
        };
        let (&(factor, steps), early) = stages.split_last().expect("one stage at least");
        let all: Vec<usize> = (0..clean.dims()[0]).collect();
        for &(factor, steps) in early.iter().filter(|(_, steps)| *steps > 0) {
            start = sparse::project(&clean, &start, factor * epsilon);
            start = stage(start, objective.select(&all), factor, steps, false)?.images;
        }
        if !early.is_empty() {
            start = sparse::project(&clean, &start, epsilon);
        }
        stage(start, objective, factor, steps, true)
    }
}

impl Attack for Apgd {
    fn name(&self) -> &'static str {
        match self.loss {
            ApgdLoss::CrossEntropy => "APGD-CE",
            ApgdLoss::Margin => "APGD-margin",
            ApgdLoss::Dlr => "APGD-DLR",
            ApgdLoss::TargetedDlr { .. } => "APGD-T",
        }
    }

    fn norm(&self) -> Norm {
        self.norm
    }

    fn epsilon(&self) -> Option<Epsilon> {
        Some(self.epsilon)
    }

    fn with_epsilon(&self, epsilon: Epsilon) -> Box<dyn Attack> {
        Box::new(Self { epsilon, ..*self })
    }

    fn steps(&self) -> Option<usize> {
        Some(self.steps)
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(Self { steps: 2 * self.steps, ..*self }))
    }

    fn perturb(&self, victim: &Frozen, images: Tensor<4>, goal: &Goal) -> Result<Tensor<4>, AttackError> {
        check(victim, &images, goal, self.epsilon)?;
        self.check_parameters(goal, victim.num_classes())?;
        let images = images.inner();
        let count = images.dims()[0];
        if self.epsilon == Epsilon::ZERO || images.shape().num_elements() == 0 {
            return Ok(images);
        }
        let others = match self.loss {
            ApgdLoss::TargetedDlr { .. } => others(victim.logits(images.clone()), goal.classes()),
            _ => Vec::new(),
        };
        let runs = self.loss.targets() * self.restarts;
        let mut result = images.clone();
        let mut highest = vec![f32::NEG_INFINITY; count];
        let mut left: Vec<usize> = (0..count).collect();
        for run in 0..runs {
            if left.is_empty() {
                break;
            }
            let targets =
                left.iter().filter_map(|&i| others.get(i)).map(|classes| classes[run / self.restarts]);
            let objective =
                Objective { loss: self.loss, targets: targets.collect(), goal: goal.select(&left) };
            let outcome = self.run(victim, take(&images, &left), objective, run, runs)?;
            let better: Vec<usize> = (0..left.len())
                .filter(|&i| outcome.stopped[i] || outcome.losses[i] > highest[left[i]])
                .collect();
            if better.is_empty() {
                continue;
            }
            let positions: Vec<usize> = better.iter().map(|&i| left[i]).collect();
            result = put(result, &positions, take(&outcome.images, &better));
            better.iter().for_each(|&i| highest[left[i]] = outcome.losses[i]);
            let mut stopped = outcome.stopped.iter();
            left.retain(|_| !stopped.next().expect("one flag an image"));
        }
        Ok(result)
    }
}
