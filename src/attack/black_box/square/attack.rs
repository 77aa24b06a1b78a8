//! The Square attack.

use rayon::prelude::*;

use super::proposal::Canvas;
use crate::attack::prelude::*;
use crate::attack::steps::{Tried, Worst, worst_of};
use crate::random::Generator;

/// Proposals of 10000 after which the squares get smaller: half the area of before at each.
const SMALLER: [usize; 9] = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];
const SCHEDULE: usize = 10_000;

/// The Square attack: random squares of colour, kept where they bring the image closer to the goal. It asks
/// for logits only.
///
/// Andriushchenko, Croce, Flammarion & Hein, "Square Attack: a query-efficient black-box adversarial attack
/// via random search", ECCV 2020, algorithms 1 to 3; the L1 version of Croce & Hein 2021. Parameters and
/// losses are those of the authors' implementation in `pyautoattack` 0.2.0 on PyPI: the margin, and the
/// target's cross-entropy for a targeted goal. Each image has squares of its own, not those of its batch.
///
/// An image that does not reach the goal comes back as the point of highest loss.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required | a finite number of at least 0 |
/// | norm | the budget's | Linf, L2 or L1 |
/// | queries: proposals a run, after its start | 5000 | at least 1 |
/// | restarts: runs | 1 | at least 1 |
/// | p init: share of the area that the first squares cover | 0.8 | a number above 0, up to 1 |
/// | rescaled schedule: squares shrink over all queries, else over 10000 | yes | |
/// | seed | 0 | any |
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // Rounded pixels have no gradient to follow.
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = (x * 20.0).round().mean_dims(&[1, 2, 3]).reshape([-1, 1]) / 20.0;
///     Tensor::cat(vec![bright.clone().neg() + 0.5, bright - 0.5], 1)
/// });
/// let attack = Square::new(Budget::linf(Epsilon::unit(0.2))).with_queries(100);
/// let image = Tensor::full([1, 1, 8, 8], 0.6, &device);
/// let adversarial = attack.perturb(&victim, image, &Goal::untargeted([1]))?;
/// assert_eq!(victim.predict(adversarial), [0]);
/// assert_eq!(victim.watch().queries().gradients, 0);
/// # Ok::<(), AttackError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Square {
    /// How far each image may be changed.
    pub budget: Budget,
    /// Number of proposals a run, after its start.
    #[config(default = 5000)]
    pub queries: usize,
    /// Number of runs.
    #[config(default = 1)]
    pub restarts: usize,
    /// The share of the area that the first squares cover.
    #[config(default = 0.8)]
    pub p_init: f64,
    /// Whether squares shrink over all queries, or over 10000 as in the paper and in AutoAttack.
    #[config(default = true)]
    pub rescaled_schedule: bool,
    /// The seed of the squares.
    #[config(default = 0)]
    pub seed: u64,
}

impl Square {
    /// The side of the squares of a proposal.
    fn side(&self, proposal: usize, area: usize) -> usize {
        let proposal = match self.rescaled_schedule {
            true => (proposal as f64 / self.queries as f64 * SCHEDULE as f64) as usize,
            false => proposal,
        };
        let halvings = SMALLER.iter().filter(|&&after| proposal > after).count() as i32;
        let area = self.p_init * 0.5f64.powi(halvings) * area as f64;
        area.sqrt().round_ties_even() as usize
    }

    /// One run, from a start of its own.
    fn run(&self, task: &Task<'_>) -> Result<Tried, AttackError> {
        let canvas = |row: usize| {
            let whole = Canvas::new(self.budget, task.shape());
            match task.free(row) {
                Some(free) => whole.around(free),
                None => whole,
            }
        };
        let mut canvases: Vec<Canvas> = (0..task.len()).map(canvas).collect();
        let draws = task.draws_of_run(Purpose::SQUARE, self.seed);
        let mut generators: Vec<Generator> = (0..task.len()).map(|row| draws.generator(row)).collect();
        let (mut worst, mut standing) = (Worst::new(task.images()), task.afresh());
        for query in 0..=self.queries {
            standing.step()?;
            type Drawing<'a> = ((&'a [f32], &'a [f32]), (&'a Canvas, &'a mut Generator));
            let propose = |((clean, best), (canvas, rng)): Drawing<'_>| match query {
                0 => canvas.start(clean, rng),
                _ => canvas.propose(clean, best, self.side(query - 1, canvas.area()), rng),
            };
            let (clean, best) =
                (values(standing.images()), values(take(&worst.0.images, standing.positions())));
            let proposals: Vec<Vec<f32>> = clean
                .par_chunks(task.size())
                .zip(best.par_chunks(task.size()))
                .zip(canvases.par_iter().zip(&mut generators))
                .map(propose)
                .collect();
            let goal = standing.goal();
            let tried = Tried::scored(&standing, batch(proposals.concat(), &task.images()), |logits| {
                if goal.is_targeted() { goal.objective(logits) } else { goal.margin(logits) }
            });
            worst.offer(standing.positions(), &tried);
            let left = flagged(&tried.reached, false);
            if left.is_empty() {
                break;
            }
            (standing, generators) = (standing.keep(&left), generators.keep(&left));
            canvases = canvases.keep(&left);
        }
        Ok(worst.0)
    }
}

impl Attack for Square {
    fn profile(&self) -> Profile {
        let steps = self.restarts * (self.queries + 1);
        Profile::within("Square", self.budget, Access::Logits, steps, Queries::forwards(steps))
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        let share = self.p_init > 0.0 && self.p_init <= 1.0;
        vec![
            norm_among(self.budget.norm(), &[Norm::Linf, Norm::L2, Norm::L1]),
            Parameter::at_least("queries", self.queries, 1),
            Parameter::at_least("restarts", self.restarts, 1),
            Parameter::new("p init", "a number above 0, up to 1", share, self.p_init),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..*self })
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(self.with_queries(2 * self.queries)))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        worst_of(&task, self.restarts, false, |task| self.run(task))
    }
}
