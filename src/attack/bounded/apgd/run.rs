//! One run of Auto-PGD from a start: momentum steps whose size halves where the loss stalls.

use super::{Apgd, sparse};
use crate::attack::prelude::*;
use crate::attack::steps::{Tried, Worst};
use crate::classifier::InputGradient;

/// Share of the new step; the rest is momentum (Croce & Hein 2020, equation 3).
const ALPHA: f64 = 0.75;
/// First period between checkpoints, what each next one is shorter by, and the shortest, as shares of all
/// steps (section 3.3).
const PERIODS: [f64; 3] = [0.22, 0.03, 0.06];
/// The L1 version's period, first share of entries moved, divisor of that share at a checkpoint, of the step,
/// and the smallest step (Croce & Hein 2021, section 3.2 and the reference implementation).
const SPARSE_PERIOD: f64 = 0.04;
const FIRST_SHARE: f64 = 0.2;
const SPARSER: f64 = 1.5;
const SLOWER: f64 = 1.5;
const SMALLEST: f64 = 0.1;
/// Below this ratio of supports between checkpoints, the perturbation became sparser.
const SHRUNK: f64 = 0.95;

crate::rows! {
    /// The images that are still going.
    struct Going<'a> {
        task: Task<'a>,
        /// The classes that targeted DLR aims at.
        targets: Option<Vec<i64>>,
        now: Points,
        before: Tensor<4>,
        best: Points,
        tracks: Vec<Track>,
    }
}

crate::rows! {
    /// Points with the gradients of their losses.
    #[derive(Clone)]
    struct Points {
        at: Tensor<4>,
        gradient: Tensor<4>,
    }
}

/// What the victim says of some points.
struct Seen {
    points: Points,
    losses: Vec<f32>,
    reached: Vec<bool>,
}

/// The step size of an image and what decides on it.
#[derive(Clone)]
struct Track {
    /// Values that may change.
    size: f64,
    step: f64,
    last: f32,
    best: f32,
    best_at_check: f32,
    /// Steps since the checkpoint that raised the loss.
    rises: usize,
    halved: bool,
    /// Share of the entries that an L1 step moves, and the perturbation's support at the checkpoint.
    share: f64,
    support: f64,
}

impl Apgd {
    /// One stage: the point of each image that reached the goal, or that of the highest loss, with the
    /// highest loss on the way; "reached" are those that stopped early.
    pub(super) fn climb(
        &self,
        task: &Task<'_>,
        targets: Option<Vec<i64>>,
        start: Tensor<4>,
    ) -> Result<Tried, AttackError> {
        task.go_on()?;
        let start = match self.multi_epsilon {
            true => sparse::project(&task.images(), &start, self.budget.size()),
            false => start,
        };
        let mut found = Worst::new(start.clone());
        let seen = self.see(task, targets.as_deref(), start.clone(), true);
        let (now, tracks) = (seen.points, self.tracks(task, &start, &seen.losses));
        let task = task.afresh();
        let mut going = Going { task, targets, before: start, best: now.clone(), now, tracks };
        if !self.leave_reached(&mut going, &seen.reached, &mut found) {
            return Ok(found.0);
        }
        let (mut period, mut since) =
            (self.of_steps(if self.is_sparse() { SPARSE_PERIOD } else { PERIODS[0] }), 0);
        for done in 0..self.steps {
            going.task.step()?;
            let next = self.advance(&going, done == 0);
            going.before = going.now.at;
            // The last point is judged, not left: it needs no gradient.
            let last = done + 1 == self.steps;
            let seen = self.see(&going.task, going.targets.as_deref(), next, !last);
            going.now = seen.points;
            going.record(&seen.losses);
            if !self.leave_reached(&mut going, &seen.reached, &mut found) {
                return Ok(found.0);
            }
            since += 1;
            if since == period && !last {
                self.checkpoint(&mut going, period);
                if !self.is_sparse() {
                    period = period.saturating_sub(self.of_steps(PERIODS[1])).max(self.of_steps(PERIODS[2]));
                }
                since = 0;
            }
        }
        going.offer(vec![false; going.tracks.len()], going.best.at.clone(), &mut found);
        Ok(found.0)
    }

    fn of_steps(&self, share: f64) -> usize {
        ((share * self.steps as f64) as usize).max(1)
    }

    fn is_sparse(&self) -> bool {
        self.budget.norm() == Norm::L1
    }

    /// The step of the start: twice the budget, or the budget in L1.
    fn first_step(&self) -> f64 {
        if self.is_sparse() { self.budget.size() } else { 2.0 * self.budget.size() }
    }

    /// What the victim says of these points; gradients are zero if not asked for.
    fn see(&self, task: &Task<'_>, targets: Option<&[i64]>, at: Tensor<4>, with_gradient: bool) -> Seen {
        let loss = |logits| self.loss.values(logits, task.goal(), targets);
        let InputGradient { logits, gradient } = match with_gradient {
            true => task.gradient(&at, loss),
            false => InputGradient { logits: task.victim().logits(at.clone()), gradient: at.zeros_like() },
        };
        let reached = task.goal().reached(logits.clone());
        Seen { points: Points { at, gradient }, losses: values(loss(logits)), reached }
    }

    /// With several budgets the start is a result to go on from: a stage begins with its sparsity.
    fn tracks(&self, task: &Task<'_>, start: &Tensor<4>, losses: &[f32]) -> Vec<Track> {
        let sizes = (0..task.len()).map(|row| task.dimension(row) as f64);
        let supports = if self.multi_epsilon { supports(task, start) } else { sizes.clone().collect() };
        let track = |((&loss, support), size): ((&f32, f64), f64)| Track {
            size,
            step: self.first_step(),
            // The reference compares the first step with a loss of zero, not with the start's.
            last: 0.0,
            best: loss,
            best_at_check: loss,
            rises: 0,
            halved: true,
            share: if self.multi_epsilon { support / size / SPARSER } else { FIRST_SHARE },
            support,
        };
        losses.iter().zip(supports).zip(sizes).map(track).collect()
    }

    fn advance(&self, Going { task, now, before, tracks, .. }: &Going<'_>, first: bool) -> Tensor<4> {
        let Points { at, gradient } = now;
        if self.is_sparse() {
            let steps: Vec<_> =
                tracks.iter().map(|track| (track.step, track.share, track.size as usize)).collect();
            return sparse::advance(&task.images(), at, gradient, &steps, self.budget.size());
        }
        let sizes: Vec<f64> = tracks.iter().map(|track| track.step).collect();
        let step = self.budget.norm().unit_step(gradient.clone()) * factors(&sizes, at);
        let stepped = task.project(at.clone() + step, self.budget);
        if first {
            return stepped;
        }
        let momentum = at.clone() - before.clone();
        let next = at.clone() + (stepped - at.clone()) * ALPHA + momentum * (1.0 - ALPHA);
        task.project(next, self.budget)
    }

    /// Whether any image goes on; `found` takes those that reached the goal.
    fn leave_reached(&self, going: &mut Going<'_>, reached: &[bool], found: &mut Worst) -> bool {
        if self.best_loss || !reached.contains(&true) {
            return true;
        }
        let (fallen, left) = (going.keep(&flagged(reached, true)), flagged(reached, false));
        fallen.offer(vec![true; fallen.tracks.len()], fallen.now.at.clone(), found);
        if !left.is_empty() {
            *going = going.keep(&left);
        }
        !left.is_empty()
    }

    fn checkpoint(&self, going: &mut Going<'_>, period: usize) {
        let tracks = going.tracks.iter_mut();
        let restart: Vec<bool> = if self.is_sparse() {
            let tracks = tracks.zip(supports(&going.task, &going.best.at));
            tracks.map(|(track, support)| track.sparser(support, self.first_step())).collect()
        } else {
            tracks.map(|track| track.halve(period, self.rho)).collect()
        };
        going.now.replace(&restart, &going.best);
    }
}

impl Points {
    /// Takes the other points where the flag of the image is set.
    fn replace(&mut self, flags: &[bool], other: &Self) {
        if flags.contains(&true) {
            self.at = choose(flags, other.at.clone(), self.at.clone());
            self.gradient = choose(flags, other.gradient.clone(), self.gradient.clone());
        }
    }
}

impl Going<'_> {
    /// Notes the losses of the points just reached.
    fn record(&mut self, losses: &[f32]) {
        let better: Vec<bool> =
            self.tracks.iter_mut().zip(losses).map(|(track, &loss)| track.record(loss)).collect();
        self.best.replace(&better, &self.now);
    }

    /// Offers these points with the highest losses so far.
    fn offer(&self, reached: Vec<bool>, images: Tensor<4>, found: &mut Worst) {
        let scores = self.tracks.iter().map(|track| track.best).collect();
        found.offer(self.task.positions(), &Tried { images, reached, scores });
    }
}

impl Track {
    /// Notes a loss; whether it is the highest so far.
    fn record(&mut self, loss: f32) -> bool {
        self.rises += usize::from(loss > self.last);
        self.last = loss;
        let better = loss > self.best;
        if better {
            self.best = loss;
        }
        better
    }

    /// Halves the step if too few steps raised the loss, or if nothing got better at the same step size
    /// (Croce & Hein 2020, conditions 1 and 2); whether it did.
    fn halve(&mut self, period: usize, rho: f64) -> bool {
        let oscillates = self.rises as f64 <= rho * period as f64;
        let stalls = !self.halved && self.best_at_check >= self.best;
        self.halved = oscillates || stalls;
        if self.halved {
            self.step /= 2.0;
        }
        self.rises = 0;
        self.best_at_check = self.best;
        self.halved
    }

    /// Moves fewer entries from now on; the step grows back where the perturbation became sparser, and
    /// shrinks elsewhere (Croce & Hein 2021, section 3.2). Whether it grew.
    fn sparser(&mut self, support: f64, first_step: f64) -> bool {
        let shrunk = support / self.support < SHRUNK;
        self.step = if shrunk { first_step } else { (self.step / SLOWER).max(first_step * SMALLEST) };
        self.share = support / self.size / SPARSER;
        self.support = support;
        shrunk
    }
}

fn supports(task: &Task<'_>, at: &Tensor<4>) -> Vec<f64> {
    values(Norm::L0.measure(at.clone() - task.images())).into_iter().map(f64::from).collect()
}
