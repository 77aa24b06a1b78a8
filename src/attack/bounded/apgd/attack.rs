//! Auto-PGD.

use super::loss::ApgdLoss;
use super::sparse;
use crate::attack::prelude::*;
use crate::attack::steps::{Tried, restart_parameters, worst_of};
use crate::classifier::{column, others};
use crate::pixels::direction;

/// Auto-PGD: projected gradient steps with momentum whose size halves by itself where the loss stalls.
///
/// Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
/// attacks", ICML 2020, algorithm 1; for L1 the sparse steps and the projection onto the ball within the box
/// of Croce & Hein, "Mind the box", ICML 2021. As the authors' implementation (`pyautoattack` 0.2.0 on PyPI),
/// image for image from the same start, but that an image stops where it reaches the goal.
///
/// An image that does not reach the goal comes back as the point of highest loss.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number of at least 0 |
/// | norm | the budget's | Linf, L2 or L1; L1 with multi-epsilon |
/// | loss | cross-entropy, see [`ApgdLoss`] | three classes or more for DLR; four classes or more for targeted DLR |
/// | targets of targeted DLR | required | from 1 to one less than the classes |
/// | steps | 100 | at least 1 |
/// | restarts | 1 | at least 1; 1 without a random start |
/// | rho: share of steps that must raise the loss | 0.75 | a number from 0 to 1 |
/// | random start | true | |
/// | multi-epsilon: 30 % of the steps at 3 and at 2 budgets first | false | |
/// | best loss: all steps, the point of highest loss | false | |
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
/// let attack = Apgd::new(Budget::linf(Epsilon::unit(0.2))).with_loss(ApgdLoss::Margin).with_steps(20);
/// let image = Tensor::full([1, 1, 4, 4], 0.6, &device);
/// let adversarial = attack.perturb(&victim, image, &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(adversarial), [0]);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Apgd {
    /// How far each image may be changed.
    pub budget: Budget,
    /// What it raises.
    #[config(default = "ApgdLoss::CrossEntropy")]
    pub loss: ApgdLoss,
    /// Number of steps a run.
    #[config(default = 100)]
    pub steps: usize,
    /// Number of runs from different random starts; an image that reached the goal leaves.
    #[config(default = 1)]
    pub restarts: usize,
    /// The share of steps that must raise the loss between checkpoints.
    #[config(default = 0.75)]
    pub rho: f64,
    /// From a random point, or from the image itself.
    #[config(default = true)]
    pub random_start: bool,
    /// Whether it starts at larger budgets: 30 % of the steps at three times the budget, 30 % at twice, the
    /// rest at the budget (Croce & Hein 2021, section 3.3).
    #[config(default = false)]
    pub multi_epsilon: bool,
    /// Whether every image takes all steps and comes back as its point of highest loss, instead of stopping
    /// at the first point that reaches the goal.
    #[config(default = false)]
    pub best_loss: bool,
    /// The seed of the random starts.
    #[config(default = 0)]
    pub seed: u64,
}

impl Apgd {
    /// Number of runs, those towards other classes among them.
    fn runs(&self) -> usize {
        self.loss.targets().unwrap_or(1) * self.restarts
    }

    /// What a run does one after another: those at larger budgets take all their steps.
    fn stages(&self) -> Vec<Self> {
        if !self.multi_epsilon {
            return vec![*self];
        }
        let early = (3 * self.steps).div_ceil(10).min(self.steps.saturating_sub(1) / 2);
        let times = |factor: f64| self.budget.with_epsilon(Epsilon::unit(factor * self.budget.size()));
        let larger = |factor| Self { budget: times(factor), steps: early, best_loss: true, ..*self };
        vec![larger(3.0), larger(2.0), self.with_steps(self.steps - 2 * early)]
    }

    /// The points that a stage starts from.
    fn start(&self, task: &Task<'_>) -> Tensor<4> {
        let images = task.images();
        if !self.random_start {
            return images;
        }
        let (norm, radius) = (self.budget.norm(), self.budget.size());
        let change = task.draws_of_run(Purpose::START, self.seed).perturbations(&images, |change, rng| {
            let noise = direction(norm, change.len(), rng);
            // L1 keeps the noise as it is: projected onto the ball, it is sparse.
            let scale = if norm == Norm::L1 { 1.0 } else { radius / norm.measure_values(&noise) };
            change.iter_mut().zip(noise).for_each(|(c, n)| *c = (n * scale) as f32);
        });
        let start = images.clone() + change;
        if norm == Norm::L1 { sparse::project(&images, &start, radius) } else { start.clamp(0.0, 1.0) }
    }

    /// One run, with the classes that targeted DLR aims at.
    fn run(&self, task: &Task<'_>, targets: Option<Vec<i64>>) -> Result<Tried, AttackError> {
        let stages = self.stages();
        let (last, early) = stages.split_last().expect("one stage at least");
        let mut start = stages[0].start(task);
        for stage in early.iter().filter(|stage| stage.steps > 0) {
            start = stage.climb(task, targets.clone(), start)?.images;
        }
        last.climb(task, targets, start)
    }
}

impl Attack for Apgd {
    fn profile(&self) -> Profile {
        let steps = self.runs() * self.steps;
        let last_points = self.runs() * self.stages().iter().filter(|stage| stage.steps > 0).count();
        let ranking = usize::from(self.loss.targets().is_some());
        let queries = Queries::forwards(last_points + ranking) + Queries::gradients(steps);
        let goals = if self.loss.is_ratio() { Goals::Untargeted } else { Goals::Any };
        let name = self.loss.attack_name();
        Profile { goals, ..Profile::within(name, self.budget, Access::Gradients, steps, queries) }
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let norm = self.budget.norm();
        let one_or_l1 = !self.multi_epsilon || norm == Norm::L1;
        let own = vec![
            norm_among(norm, &[Norm::Linf, Norm::L2, Norm::L1]),
            Parameter::new("norm", "L1 with multi-epsilon", one_or_l1, norm),
            Parameter::at_least("steps", self.steps, 1),
        ];
        let restarts = restart_parameters(self.restarts, self.random_start);
        let rho = vec![Parameter::within("rho", self.rho, 0.0..=1.0)];
        [own, restarts, rho, self.loss.parameters(task.victim().num_classes())].concat()
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..*self })
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(self.with_steps(2 * self.steps)))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        task.go_on()?;
        let ranked = |_| others(task.victim().logits(task.images()), task.goal().classes());
        let classes = self.loss.targets().map(ranked);
        worst_of(&task, self.runs(), false, |task| {
            let target = task.run() as usize / self.restarts;
            let classes = classes.keep(task.positions());
            self.run(task, classes.map(|orders| column(&orders, target)))
        })
    }
}
