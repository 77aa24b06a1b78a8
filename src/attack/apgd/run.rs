//! One run of Auto-PGD from a start: momentum steps whose size halves where the loss stalls.

use burn::tensor::Tensor;

use super::super::base::{finite_or_zero, step};
use super::super::rows::{choose, factors, put, take, values};
use super::super::{AttackError, Norm};
use super::loss::Objective;
use super::sparse;
use crate::classifier::Frozen;

/// Share of the new step; the rest is momentum (Croce & Hein 2020, equation 3).
const ALPHA: f64 = 0.75;
/// First period between checkpoints, what each next one is shorter by, and the shortest, as shares of all
/// steps (section 3.3).
const PERIODS: [f64; 3] = [0.22, 0.03, 0.06];
/// The L1 version's period, first share of entries moved, divisor of that share at a checkpoint, of the step, and
/// the smallest step (Croce & Hein 2021, section 3.2 and the reference implementation).
const SPARSE_PERIOD: f64 = 0.04;
const FIRST_SHARE: f64 = 0.2;
const SPARSER: f64 = 1.5;
const SLOWER: f64 = 1.5;
const SMALLEST: f64 = 0.1;
/// Below this ratio of supports between checkpoints, the perturbation became sparser.
const SHRUNK: f64 = 0.95;

/// What does not change during a run.
pub(super) struct Run<'a> {
    pub(super) victim: &'a Frozen,
    pub(super) name: &'static str,
    pub(super) norm: Norm,
    pub(super) epsilon: f64,
    pub(super) rho: f64,
    pub(super) steps: usize,
    /// Whether an image stops at the first point that reaches the goal; else it takes all steps.
    pub(super) early_stop: bool,
    /// Whether the start is a result to go on from: the L1 version then begins with its sparsity.
    pub(super) resumed: bool,
    /// Steps before this run, and of all runs.
    pub(super) progress: (usize, usize),
}

/// What a run found for each image.
pub(super) struct Outcome {
    /// The point that reached the goal, or that of the highest loss.
    pub(super) images: Tensor<4>,
    /// The highest loss on the way.
    pub(super) losses: Vec<f32>,
    /// Whether the image stopped early.
    pub(super) stopped: Vec<bool>,
}

/// The images that are still going.
struct State {
    positions: Vec<usize>,
    clean: Tensor<4>,
    now: Tensor<4>,
    before: Tensor<4>,
    gradient: Tensor<4>,
    best: Tensor<4>,
    best_gradient: Tensor<4>,
    tracks: Vec<Track>,
}

/// The step size of an image and what decides on it.
#[derive(Clone)]
struct Track {
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

impl Run<'_> {
    pub(super) fn from(
        &self,
        clean: Tensor<4>,
        start: Tensor<4>,
        mut objective: Objective,
    ) -> Result<Outcome, AttackError> {
        let count = clean.dims()[0];
        let mut found = Outcome {
            images: start.clone(),
            losses: vec![f32::NEG_INFINITY; count],
            stopped: vec![false; count],
        };
        let (reached, losses, gradient) = self.evaluate(&start, &objective, true);
        let mut state = self.begin(clean, start, gradient, &losses);
        self.drop_reached(&mut state, &mut objective, &reached, &mut found);
        let (mut period, mut since) = (self.period(), 0);
        for done in 0..self.steps {
            if state.positions.is_empty() {
                return Ok(found);
            }
            step(self.victim, self.name, self.progress.0 + done, self.progress.1)?;
            let next = self.advance(&state, done == 0);
            state.before = std::mem::replace(&mut state.now, next);
            // The last point is judged, not left: it needs no gradient.
            let last = done + 1 == self.steps;
            let (reached, losses, gradient) = self.evaluate(&state.now, &objective, !last);
            state.gradient = gradient;
            state.record(&losses);
            self.drop_reached(&mut state, &mut objective, &reached, &mut found);
            since += 1;
            if since == period && !last && !state.positions.is_empty() {
                self.checkpoint(&mut state, period);
                if self.norm != Norm::L1 {
                    period = period.saturating_sub(self.of_steps(PERIODS[1])).max(self.of_steps(PERIODS[2]));
                }
                since = 0;
            }
        }
        for (&position, track) in state.positions.iter().zip(&state.tracks) {
            found.losses[position] = track.best;
        }
        if !state.positions.is_empty() {
            found.images = put(found.images, &state.positions, state.best);
        }
        Ok(found)
    }

    fn of_steps(&self, share: f64) -> usize {
        ((share * self.steps as f64) as usize).max(1)
    }

    fn period(&self) -> usize {
        self.of_steps(if self.norm == Norm::L1 { SPARSE_PERIOD } else { PERIODS[0] })
    }

    /// The step of the start: twice epsilon, or epsilon in L1.
    fn first_step(&self) -> f64 {
        if self.norm == Norm::L1 { self.epsilon } else { 2.0 * self.epsilon }
    }

    /// Whether each image reached the goal, its loss, and its gradient (zero if not asked for).
    fn evaluate(
        &self,
        images: &Tensor<4>,
        objective: &Objective,
        with_gradient: bool,
    ) -> (Vec<bool>, Vec<f32>, Tensor<4>) {
        let (logits, gradient) = match with_gradient {
            true => {
                let found = self.victim.input_gradient(images.clone(), |logits| objective.values(logits));
                (found.logits, finite_or_zero(found.gradient))
            }
            false => (self.victim.logits(images.clone()), images.zeros_like()),
        };
        (objective.goal.reached(logits.clone()), values(objective.values(logits)), gradient)
    }

    fn begin(&self, clean: Tensor<4>, start: Tensor<4>, gradient: Tensor<4>, losses: &[f32]) -> State {
        let size = clean.dims()[1..].iter().product::<usize>() as f64;
        let supports = match self.resumed {
            true => supports(&start, &clean),
            false => vec![size; losses.len()],
        };
        let track = |(&loss, support): (&f32, f64)| Track {
            step: self.first_step(),
            // The reference compares the first step with a loss of zero, not with the start's.
            last: 0.0,
            best: loss,
            best_at_check: loss,
            rises: 0,
            halved: true,
            share: if self.resumed { support / size / SPARSER } else { FIRST_SHARE },
            support,
        };
        State {
            positions: (0..losses.len()).collect(),
            now: start.clone(),
            before: start.clone(),
            best: start,
            best_gradient: gradient.clone(),
            tracks: losses.iter().zip(supports).map(track).collect(),
            clean,
            gradient,
        }
    }

    fn advance(&self, state: &State, first: bool) -> Tensor<4> {
        let State { clean, now, before, gradient, tracks, .. } = state;
        if self.norm == Norm::L1 {
            let steps: Vec<_> = tracks.iter().map(|track| (track.step, track.share)).collect();
            return sparse::advance(clean, now, gradient, &steps, self.epsilon);
        }
        let within = |images: Tensor<4>| {
            let change = self.norm.project(images - clean.clone(), self.epsilon);
            (clean.clone() + change).clamp(0.0, 1.0)
        };
        let sizes: Vec<f32> = tracks.iter().map(|track| track.step as f32).collect();
        let stepped = within(now.clone() + self.norm.unit_step(gradient.clone()) * factors(&sizes, now));
        if first {
            return stepped;
        }
        let momentum = now.clone() - before.clone();
        within(now.clone() + (stepped - now.clone()) * ALPHA + momentum * (1.0 - ALPHA))
    }

    /// Takes the images that reached the goal out of the state, into what was found.
    fn drop_reached(
        &self,
        state: &mut State,
        objective: &mut Objective,
        reached: &[bool],
        found: &mut Outcome,
    ) {
        if !self.early_stop || !reached.contains(&true) {
            return;
        }
        let (fallen, going): (Vec<usize>, Vec<usize>) = (0..reached.len()).partition(|&i| reached[i]);
        let positions: Vec<usize> = fallen.iter().map(|&i| state.positions[i]).collect();
        found.images = put(found.images.clone(), &positions, take(&state.now, &fallen));
        for (&position, &i) in positions.iter().zip(&fallen) {
            found.stopped[position] = true;
            found.losses[position] = state.tracks[i].best;
        }
        state.keep(&going);
        *objective = objective.select(&going);
    }

    fn checkpoint(&self, state: &mut State, period: usize) {
        let restart: Vec<bool> = match self.norm {
            Norm::L1 => {
                let size = state.clean.dims()[1..].iter().product::<usize>() as f64;
                let supports = supports(&state.best, &state.clean);
                let tracks = state.tracks.iter_mut().zip(supports);
                tracks.map(|(track, support)| track.sparser(support, size, self.first_step())).collect()
            }
            _ => state.tracks.iter_mut().map(|track| track.halve(period, self.rho)).collect(),
        };
        if restart.contains(&true) {
            state.now = choose(&restart, state.best.clone(), state.now.clone());
            state.gradient = choose(&restart, state.best_gradient.clone(), state.gradient.clone());
        }
    }
}

impl State {
    /// Notes the losses of the points just reached.
    fn record(&mut self, losses: &[f32]) {
        let better: Vec<bool> =
            self.tracks.iter().zip(losses).map(|(track, &loss)| loss > track.best).collect();
        for (track, &loss) in self.tracks.iter_mut().zip(losses) {
            track.rises += usize::from(loss > track.last);
            track.last = loss;
            if loss > track.best {
                track.best = loss;
            }
        }
        if better.contains(&true) {
            self.best = choose(&better, self.now.clone(), self.best.clone());
            self.best_gradient = choose(&better, self.gradient.clone(), self.best_gradient.clone());
        }
    }

    fn keep(&mut self, going: &[usize]) {
        self.positions = going.iter().map(|&i| self.positions[i]).collect();
        self.tracks = going.iter().map(|&i| self.tracks[i].clone()).collect();
        if going.is_empty() {
            return;
        }
        let Self { clean, now, before, gradient, best, best_gradient, .. } = self;
        for images in [clean, now, before, gradient, best, best_gradient] {
            *images = take(images, going);
        }
    }
}

impl Track {
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

    /// Moves fewer entries from now on; the step grows back where the perturbation became sparser, and shrinks
    /// elsewhere (Croce & Hein 2021, section 3.2). Whether it grew.
    fn sparser(&mut self, support: f64, size: f64, first_step: f64) -> bool {
        let shrunk = support / self.support < SHRUNK;
        self.step = if shrunk { first_step } else { (self.step / SLOWER).max(first_step * SMALLEST) };
        self.share = support / size / SPARSER;
        self.support = support;
        shrunk
    }
}

fn supports(images: &Tensor<4>, clean: &Tensor<4>) -> Vec<f64> {
    values(Norm::L0.measure(images.clone() - clean.clone())).into_iter().map(f64::from).collect()
}
