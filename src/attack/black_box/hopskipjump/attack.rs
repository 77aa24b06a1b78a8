//! HopSkipJump, which sees nothing of the victim but its labels.

use super::starts::Starts;
use super::walks::Walks;
use crate::attack::prelude::*;
use crate::attack::steps::Smallest;

/// Halvings of a step before it counts as no step: past the resolution of a pixel.
const HALVINGS: usize = 40;

/// HopSkipJump: walks along the decision boundary towards the image, by labels alone.
///
/// Chen, Jordan & Wainwright, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack", S&P 2020,
/// algorithm 2: from an image that reaches the goal, bisect to the boundary; estimate the gradient there from
/// the labels of `B_t = B_0 * sqrt(t)` nearby points at the distance `gamma * d_t / n`, with the mean label
/// as baseline; step by `d_t / sqrt(t)`, halved until the goal is reached; bisect again. n is the number of
/// values of an image, d_t its distance after t steps; the bisection ends at `gamma / n^1.5` of the way in
/// L2, at `gamma / n^2` in L-infinity. As foolbox's `HopSkipJumpAttack` for one image (its batches share one
/// normalisation of the estimates), except that the nearest of all steps is returned.
///
/// The start is uniform noise, blended with the image as little as needed, or the nearest of the given
/// [starts](Self::starts) that reaches the goal: noise seldom reaches a target. Images for which there is no
/// start come back as they are, as do those that the goal fits already.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | norm | L2 | L2 or Linf |
/// | limit | none | a budget in the attack's norm |
/// | steps | 64 | at least 1 |
/// | initial evaluations | 100 | at least 1 |
/// | max evaluations | 10000 | at least the initial evaluations |
/// | gamma | 1 | a finite number above 0 |
/// | queries, for each image | no bound | at least 1 |
/// | starts | noise | images of the same shape, values from 0 to 1 |
/// | seed | 0 | any |
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
/// let attack = HopSkipJump::new().with_steps(10).with_queries(Some(2000));
/// let change = attack.perturb(&victim, images.clone(), &Goal::untargeted([0]))? - images;
/// let length = Norm::L2.measure(change).into_scalar::<f32>();
/// assert!((0.2..0.22).contains(&length), "{length}");
/// assert!(victim.watch().queries().forwards <= 2000 && victim.watch().queries().gradients == 0);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Debug)]
pub struct HopSkipJump {
    /// The norm in which the distance shrinks.
    #[config(default = "Norm::L2")]
    pub norm: Norm,
    /// The largest perturbation that counts.
    pub limit: Option<Budget>,
    /// Number of steps along the boundary.
    #[config(default = 64)]
    pub steps: usize,
    /// Labels asked for in the first estimate of a gradient.
    #[config(default = 100)]
    pub initial_evaluations: usize,
    /// Labels asked for in a later estimate, at most.
    #[config(default = 10000)]
    pub max_evaluations: usize,
    /// Scale of the bisection's end and of the distance of the points that estimate a gradient. With 1 and
    /// images of 224x224x3 these points differ from each other by as little as single precision shows; larger
    /// ones help.
    #[config(default = 1.0)]
    pub gamma: f64,
    /// Labels that may be asked for each image; a step that might need more is not begun.
    pub queries: Option<usize>,
    /// Where walks begin.
    #[config(default = "Starts::noise()")]
    pub starts: Starts,
    /// The seed of the noise.
    #[config(default = 0)]
    pub seed: u64,
}

impl HopSkipJump {
    /// Labels of a bisection.
    fn halvings(&self, size: usize) -> usize {
        let power = if self.norm == Norm::L2 { 1.5 } else { 2.0 };
        let end = self.gamma / (size as f64).powf(power);
        end.recip().log2().ceil().max(0.0) as usize
    }

    /// Labels for the estimate of the gradient in a round, counted from 1.
    pub(super) fn evaluations(&self, round: usize) -> usize {
        ((self.initial_evaluations as f64 * (round as f64).sqrt()) as usize).min(self.max_evaluations)
    }

    /// Those of these walks that may ask for so many more labels.
    pub(super) fn affordable(&self, walks: &Walks<'_>, rows: Vec<usize>, labels: usize) -> Vec<usize> {
        let affords = |&row: &usize| self.queries.is_none_or(|most| walks.queries[row] + labels <= most);
        rows.into_iter().filter(affords).collect()
    }

    /// Moves the points to the boundary, on the side that reaches the goal.
    fn bisect(&self, walks: &mut Walks<'_>) -> Result<(), AttackError> {
        let rows = walks.rows();
        let mut gaps = vec![[0.0, 1.0]; rows.len()];
        let mut nearest = walks.points.clone();
        for _ in 0..self.halvings(walks.task.size()) {
            let middles: Vec<f64> = gaps.iter().map(|[low, high]| (low + high) / 2.0).collect();
            let tried = walks.between(self.norm, &middles);
            let reached = walks.ask(&rows, &tried)?;
            rows.iter().for_each(|&row| gaps[row][usize::from(reached[row])] = middles[row]);
            nearest = choose(&reached, tried, nearest);
        }
        walks.points = nearest;
        Ok(())
    }

    /// A step of a round, halved until it stays where the goal is reached.
    fn advance(&self, walks: &mut Walks<'_>, round: usize) -> Result<(), AttackError> {
        let directions = self.directions(walks, round)?;
        let reserve = self.halvings(walks.task.size());
        let root = (round as f64).sqrt();
        let mut sizes: Vec<f64> = walks.distances(self.norm).iter().map(|distance| distance / root).collect();
        let mut open = walks.rows();
        for _ in 0..HALVINGS {
            open = self.affordable(walks, open, reserve + 1);
            if open.is_empty() {
                break;
            }
            let step = directions.keep(&open) * factors(&sizes.keep(&open), &directions);
            let reached = walks.go(&open, (walks.points.keep(&open) + step).clamp(0.0, 1.0))?;
            open = open.keep(&flagged(&reached, false));
            open.iter().for_each(|&row| sizes[row] /= 2.0);
        }
        Ok(())
    }
}

impl Attack for HopSkipJump {
    fn profile(&self) -> Profile {
        let queries = self.queries.map(|most| Queries::forwards(most + self.starts.count()));
        Profile::smallest("HopSkipJump", (self.norm, self.limit), Access::Label, self.steps, queries)
    }

    fn parameters(&self, task: &Task<'_>) -> Vec<Parameter> {
        let (initial, most) = (self.initial_evaluations, self.max_evaluations);
        let from_initial = "at least the initial evaluations";
        vec![
            norm_among(self.norm, &[Norm::L2, Norm::Linf]),
            Parameter::at_least("steps", self.steps, 1),
            Parameter::at_least("initial evaluations", initial, 1),
            Parameter::new("max evaluations", from_initial, most >= initial, most),
            Parameter::above_zero("gamma", self.gamma),
            Parameter::at_least("queries", self.queries.unwrap_or(1), 1),
            self.starts.parameter(task),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { norm: budget.norm(), limit: Some(budget), ..self.clone() })
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Smallest::search(&task, (self.norm, self.limit), 0.0, |task, _, found| {
            let halvings = self.halvings(task.size());
            let mut walks = Walks { points: task.images(), queries: vec![1; task.len()], task };
            let mut left = self.start(&mut walks, halvings)?;
            // A given start is known to reach the goal, also where no query is left to come nearer.
            if !left.is_empty() {
                walks.keep(&left).offer(found);
            }
            for round in 0..=self.steps {
                let labels = if round == 0 { 0 } else { self.evaluations(round) + 1 };
                left = self.affordable(&walks, left, labels + halvings);
                if left.is_empty() {
                    break;
                }
                walks = walks.keep(&left);
                left = walks.rows();
                if round > 0 {
                    walks.task.step()?;
                    self.advance(&mut walks, round)?;
                }
                self.bisect(&mut walks)?;
                walks.offer(found);
            }
            Ok(())
        })
    }
}
