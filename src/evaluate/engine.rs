//! Running attacks over a data set, batch by batch and resumable.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::Instant;

use burn::tensor::Tensor;

use super::budget::within;
use super::crafting::{Targets, classify, eight_bit_outcomes};
use super::journal::{Chunk, Clean, Cost, Journal};
use super::plan::{Plan, Planned};
use super::{AttackRecord, Evaluation, EvaluationError, GradientState, Progress};
use crate::attack::rows::{take, values};
use crate::attack::{Attack, AttackError};
use crate::data::{Batch, LabeledImages};
use crate::pixels::Epsilon;

/// How far probabilities may be from \[0,1\] and their sum from 1.
const PROBABILITY: f32 = 1e-5;

/// What the classifier said to images that it was asked about twice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) images: usize,
    /// The largest difference between two logits for the same image.
    pub(super) difference: f64,
    /// Whether all its scores are distributions over the classes.
    pub(super) probabilities: bool,
}

pub(super) struct Engine<'e, 'a> {
    evaluation: &'e Evaluation<'a>,
    pub(super) plan: &'e Plan<'e>,
    pub(super) data: &'e dyn LabeledImages,
    journal: Journal,
    eight_bit: bool,
    done: Cell<usize>,
    total: usize,
}

impl<'e, 'a> Engine<'e, 'a> {
    pub(super) fn new(
        evaluation: &'e Evaluation<'a>,
        plan: &'e Plan<'e>,
        data: &'e dyn LabeledImages,
        journal: Journal,
        eight_bit: bool,
    ) -> Self {
        let total = data.len() * plan.passes();
        Self { evaluation, plan, data, journal, eight_bit, done: Cell::new(0), total }
    }

    /// Every image, without attack and under every one.
    pub(super) fn run(&mut self) -> Result<(), EvaluationError> {
        for start in (0..self.data.len()).step_by(self.evaluation.batch_size) {
            let positions: Vec<usize> =
                (start..self.data.len().min(start + self.evaluation.batch_size)).collect();
            let mut loaded = Loaded { data: self.data, positions, batch: None };
            self.classify(&mut loaded)?;
            for attack in 0..self.plan.attacks.len() {
                self.attack(attack, &mut loaded)?;
            }
        }
        Ok(())
    }

    fn classify(&mut self, loaded: &mut Loaded<'_>) -> Result<(), EvaluationError> {
        let pending = loaded.chosen(|p| self.journal.clean(p).is_none());
        if !pending.is_empty() {
            self.check()?;
            let victim = self.evaluation.victim;
            let images = loaded.images(&pending, self.evaluation)?;
            let outcomes = classify(victim, images.clone())?;
            let rounded = match self.eight_bit {
                true => eight_bit_outcomes(victim, &values(images.clone()), images.dims(), &outcomes)?,
                false => vec![None; outcomes.len()],
            };
            let gradient = GradientState::NotSeen;
            let clean = outcomes.into_iter().zip(rounded);
            let mut clean: Vec<(usize, Clean)> = pending
                .into_iter()
                .zip(clean.map(|(outcome, eight_bit)| Clean { outcome, eight_bit, gradient }))
                .collect();
            let right: Vec<usize> =
                (0..clean.len()).filter(|&i| clean[i].1.outcome.is(self.data.label(clean[i].0))).collect();
            if self.plan.moves() && !right.is_empty() {
                self.check()?;
                let positions: Vec<usize> = right.iter().map(|&i| clean[i].0).collect();
                let states = loaded.targets(&positions, self.evaluation)?.gradient_states(victim);
                right.iter().zip(states).for_each(|(&i, state)| clean[i].1.gradient = state);
            }
            self.journal.add(Chunk { run: "clean".into(), clean, ..Chunk::default() })?;
        }
        self.add(loaded.positions.len());
        Ok(())
    }

    fn attack(&mut self, position: usize, loaded: &mut Loaded<'_>) -> Result<(), EvaluationError> {
        let planned = &self.plan.attacks[position];
        let (attack, images) = (planned.attack, loaded.positions.len());
        let chunk_of_run = || Chunk { run: planned.run.clone(), ..Chunk::default() };
        if planned.searches {
            let lowest = planned.epsilons.first().copied();
            let pending = loaded.chosen(|p| self.is_pending(position, 0, lowest, p));
            if !pending.is_empty() {
                let mut chunk = chunk_of_run();
                self.check()?;
                let targets = loaded.targets(&pending, self.evaluation)?;
                let result = self.measured(&mut chunk.cost, pending.len(), || {
                    attack.perturb(self.evaluation.victim, targets.images.clone(), &targets.goal)
                })?;
                self.judge(&mut chunk, 0, &pending, attack, f64::INFINITY, &targets, result)?;
                self.journal.add(chunk)?;
            }
            self.add(images);
            return Ok(());
        }

        let pending: Vec<Vec<usize>> = (planned.epsilons.iter().enumerate())
            .map(|(budget, &epsilon)| loaded.chosen(|p| self.is_pending(position, budget, Some(epsilon), p)))
            .collect();
        let mut chunk = chunk_of_run();
        let shared = self.shared(position, &pending, &mut chunk.cost, loaded)?;
        for (budget, (&epsilon, pending)) in planned.epsilons.iter().zip(&pending).enumerate() {
            if !pending.is_empty() {
                self.check()?;
                let targets = loaded.targets(pending, self.evaluation)?;
                if epsilon == Epsilon::ZERO {
                    let clean: Vec<_> = pending
                        .iter()
                        .map(|&p| self.journal.clean(p).map(|c| (c.outcome, c.eight_bit)))
                        .map(|clean| clean.expect("classified before"))
                        .collect();
                    let records = pending.iter().zip(targets.unchanged(&clean));
                    chunk.records.extend(records.map(|(&p, record)| (budget, p, record)));
                } else {
                    let result = match &shared {
                        Some(shared) => shared.result(budget, pending),
                        None => self.measured(&mut chunk.cost, pending.len(), || {
                            let attack = attack.with_epsilon(epsilon);
                            attack.perturb(self.evaluation.victim, targets.images.clone(), &targets.goal)
                        })?,
                    };
                    self.judge(&mut chunk, budget, pending, attack, epsilon.value(), &targets, result)?;
                }
                if shared.is_none() {
                    self.journal.add(std::mem::replace(&mut chunk, chunk_of_run()))?;
                }
            }
            // What shares its work is finished together.
            if shared.is_some() && budget + 1 == planned.epsilons.len() {
                self.journal.add(std::mem::take(&mut chunk))?;
            }
            self.add(images);
        }
        Ok(())
    }

    /// The results of all budgets, where the attack can share its work between them.
    fn shared(
        &self,
        position: usize,
        pending: &[Vec<usize>],
        cost: &mut Cost,
        loaded: &mut Loaded<'_>,
    ) -> Result<Option<Shared>, EvaluationError> {
        let planned = &self.plan.attacks[position];
        let budgets: Vec<usize> = (0..pending.len())
            .filter(|&b| !pending[b].is_empty() && planned.epsilons[b] != Epsilon::ZERO)
            .collect();
        if budgets.len() < 2 {
            return Ok(None);
        }
        self.check()?;
        let positions = loaded.chosen(|p| budgets.iter().any(|&b| pending[b].contains(&p)));
        let targets = loaded.targets(&positions, self.evaluation)?;
        let epsilons: Vec<Epsilon> = budgets.iter().map(|&b| planned.epsilons[b]).collect();
        let mut results = None;
        let images = budgets.iter().map(|&b| pending[b].len()).sum();
        let mut spent = Cost::default();
        self.measured(&mut spent, images, || {
            let victim = self.evaluation.victim;
            let swept = planned.attack.sweep(victim, &targets.images, &targets.goal, &epsilons);
            results = swept.transpose()?;
            Ok(())
        })?;
        Ok(results.map(|results| {
            *cost = spent;
            Shared { positions, results: budgets.into_iter().zip(results).collect() }
        }))
    }

    /// An attack outside the plan, unbounded or with the budget given, on these images.
    pub(super) fn extra(
        &mut self,
        run: &str,
        attack: &dyn Attack,
        limit: f64,
        positions: &[usize],
    ) -> Result<Vec<AttackRecord>, EvaluationError> {
        for positions in positions.chunks(self.evaluation.batch_size) {
            let mut loaded = Loaded { data: self.data, positions: positions.to_vec(), batch: None };
            let pending = loaded.chosen(|p| self.journal.record(run, 0, p).is_none());
            if !pending.is_empty() {
                self.check()?;
                let mut chunk = Chunk { run: run.into(), ..Chunk::default() };
                let targets = loaded.targets(&pending, self.evaluation)?;
                let result = self.measured(&mut chunk.cost, pending.len(), || {
                    attack.perturb(self.evaluation.victim, targets.images.clone(), &targets.goal)
                })?;
                self.judge(&mut chunk, 0, &pending, attack, limit, &targets, result)?;
                self.journal.add(chunk)?;
            }
            self.add(positions.len());
        }
        let found = positions.iter().map(|&p| self.journal.record(run, 0, p).copied());
        Ok(found.collect::<Option<_>>().expect("run above"))
    }

    /// Asks for the logits of these images twice.
    pub(super) fn ask_twice(&self, positions: &[usize]) -> Result<Asked, EvaluationError> {
        let mut asked = Asked { images: positions.len(), difference: 0.0, probabilities: true };
        for positions in positions.chunks(self.evaluation.batch_size) {
            self.check()?;
            let mut loaded = Loaded { data: self.data, positions: positions.to_vec(), batch: None };
            let images = loaded.images(positions, self.evaluation)?;
            let logits = || values(self.evaluation.victim.logits(images.clone()));
            let (first, second) = (logits(), logits());
            for (&first, second) in first.iter().zip(second) {
                // NaN both times is the same answer.
                if first.to_bits() != second.to_bits() && first != second {
                    let difference = (f64::from(first) - f64::from(second)).abs();
                    asked.difference =
                        asked.difference.max(if difference.is_nan() { f64::INFINITY } else { difference });
                }
            }
            let is_distribution = |scores: &[f32]| {
                let inside = scores.iter().all(|s| (-PROBABILITY..=1.0 + PROBABILITY).contains(s));
                inside && (scores.iter().sum::<f32>() - 1.0).abs() < PROBABILITY
            };
            asked.probabilities &= first.chunks(self.evaluation.victim.num_classes()).all(is_distribution);
        }
        Ok(asked)
    }

    /// Number of values of an image.
    pub(super) fn values(&self) -> Result<usize, EvaluationError> {
        let mut loaded = Loaded { data: self.data, positions: vec![0], batch: None };
        Ok(loaded.images(&[0], self.evaluation)?.dims()[1..].iter().product())
    }

    /// Announces more passes than the plan has.
    pub(super) fn expect_more(&mut self, passes: usize) {
        self.total += passes;
    }

    pub(super) fn clean(&self, position: usize) -> Clean {
        *self.journal.clean(position).expect("every image was classified")
    }

    pub(super) fn cost(&self, attack: usize) -> Cost {
        self.journal.cost(&self.plan.attacks[attack].run)
    }

    /// What a search found, without a budget; `None` if it did not look at the image.
    pub(super) fn searched(&self, attack: usize, position: usize) -> Option<AttackRecord> {
        let Planned { searches, run, .. } = &self.plan.attacks[attack];
        searches.then(|| self.journal.record(run, 0, position).copied()).flatten()
    }

    /// What became of an image under an attack with one of its budgets.
    pub(super) fn record(&self, attack: usize, budget: usize, position: usize) -> AttackRecord {
        let clean = self.clean(position);
        if !clean.outcome.is(self.data.label(position)) {
            return AttackRecord::untouched(clean.outcome, clean.eight_bit);
        }
        let epsilon = self.plan.attacks[attack].epsilons[budget];
        if let Some(fallen) = self.fallen_before(attack, epsilon, position) {
            return AttackRecord::untouched(fallen.outcome, fallen.eight_bit);
        }
        self.attacked(attack, budget, position).expect("every image that was right was attacked")
    }

    /// What an attack made of an image with one of its budgets; `None` if it did not attack it.
    fn attacked(&self, attack: usize, budget: usize, position: usize) -> Option<AttackRecord> {
        let planned = &self.plan.attacks[attack];
        if !planned.searches {
            return self.journal.record(&planned.run, budget, position).copied();
        }
        let found = self.searched(attack, position)?;
        let (clean, distances) = (self.clean(position), found.distances?);
        Some(match within(distances.in_norm(planned.attack.norm()), planned.epsilons[budget].value()) {
            true => found,
            false => AttackRecord {
                distances: Some(distances.unchanged()),
                ..AttackRecord::untouched(clean.outcome, clean.eight_bit)
            },
        })
    }

    /// With later attacks on survivors alone, the record by which an image fell to an earlier attack in the
    /// same norm, with at most this budget.
    fn fallen_before(&self, attack: usize, epsilon: Epsilon, position: usize) -> Option<AttackRecord> {
        if !self.evaluation.only_survivors {
            return None;
        }
        let (norm, label) = (self.plan.attacks[attack].attack.norm(), self.data.label(position));
        let earlier = (0..attack).filter(|&a| self.plan.attacks[a].attack.norm() == norm);
        let mut records = earlier.flat_map(|a| {
            let budgets = self.plan.attacks[a].epsilons.iter().enumerate();
            let smaller = budgets.filter(|(_, smaller)| **smaller <= epsilon);
            smaller.filter_map(move |(budget, _)| self.attacked(a, budget, position))
        });
        records.find(|record| !record.outcome.is(label))
    }

    fn is_pending(&self, attack: usize, budget: usize, epsilon: Option<Epsilon>, position: usize) -> bool {
        let clean = self.clean(position);
        clean.outcome.is(self.data.label(position))
            && self.journal.record(&self.plan.attacks[attack].run, budget, position).is_none()
            && epsilon.is_none_or(|epsilon| self.fallen_before(attack, epsilon, position).is_none())
    }

    #[allow(clippy::too_many_arguments)]
    fn judge(
        &self,
        chunk: &mut Chunk,
        budget: usize,
        positions: &[usize],
        attack: &dyn Attack,
        limit: f64,
        targets: &Targets,
        result: Tensor<4>,
    ) -> Result<(), EvaluationError> {
        let crafted = targets.crafted(result, attack.norm(), limit)?;
        let records = targets.judged(&crafted, self.evaluation.victim, self.eight_bit)?;
        chunk.records.extend(positions.iter().zip(records).map(|(&p, record)| (budget, p, record)));
        Ok(())
    }

    /// Runs an attack and notes what it took.
    fn measured<T>(
        &self,
        cost: &mut Cost,
        images: usize,
        work: impl FnOnce() -> Result<T, AttackError>,
    ) -> Result<T, EvaluationError> {
        let (watch, started) = (self.evaluation.victim.watch(), Instant::now());
        let before = watch.queries();
        let result = work().map_err(|error| match error {
            AttackError::Stopped => self.cancelled(),
            error => error.into(),
        })?;
        cost.queries = cost.queries + (watch.queries() - before);
        cost.seconds += started.elapsed().as_secs_f64();
        cost.images += images;
        Ok(result)
    }

    fn cancelled(&self) -> EvaluationError {
        EvaluationError::Cancelled { done: self.done.get(), total: self.total }
    }

    fn check(&self) -> Result<(), EvaluationError> {
        match self.evaluation.cancel {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(self.cancelled()),
            _ => Ok(()),
        }
    }

    fn add(&self, passes: usize) {
        self.done.set(self.done.get() + passes);
        if let Some(callback) = &self.evaluation.on_progress {
            callback(Progress { done: self.done.get(), total: self.total });
        }
    }
}

/// A batch that is read when it is first needed.
struct Loaded<'d> {
    data: &'d dyn LabeledImages,
    positions: Vec<usize>,
    batch: Option<Batch>,
}

impl Loaded<'_> {
    fn chosen(&self, which: impl Fn(usize) -> bool) -> Vec<usize> {
        self.positions.iter().copied().filter(|&p| which(p)).collect()
    }

    fn batch(&mut self, evaluation: &Evaluation<'_>) -> Result<&Batch, EvaluationError> {
        if self.batch.is_none() {
            self.batch = Some(self.data.batch(&self.positions, evaluation.victim.device())?);
        }
        Ok(self.batch.as_ref().expect("read above"))
    }

    /// The rows of these images in the batch.
    fn rows(&self, chosen: &[usize]) -> Vec<usize> {
        let row = |p: &usize| self.positions.iter().position(|q| q == p).expect("of this batch");
        chosen.iter().map(row).collect()
    }

    fn images(
        &mut self,
        chosen: &[usize],
        evaluation: &Evaluation<'_>,
    ) -> Result<Tensor<4>, EvaluationError> {
        let rows = self.rows(chosen);
        let images = &self.batch(evaluation)?.images;
        Ok(if rows.len() == images.dims()[0] { images.clone() } else { take(images, &rows) })
    }

    fn targets(&mut self, chosen: &[usize], evaluation: &Evaluation<'_>) -> Result<Targets, EvaluationError> {
        let (images, rows) = (self.images(chosen, evaluation)?, self.rows(chosen));
        let indices = &self.batch(evaluation)?.indices;
        let indices = rows.into_iter().map(|row| indices[row]).collect();
        Ok(Targets::new(images, chosen.iter().map(|&p| self.data.label(p)).collect(), indices))
    }
}

/// Results of several budgets for the same images.
struct Shared {
    positions: Vec<usize>,
    results: Vec<(usize, Tensor<4>)>,
}

impl Shared {
    fn result(&self, budget: usize, positions: &[usize]) -> Tensor<4> {
        let (_, result) = self.results.iter().find(|(b, _)| *b == budget).expect("swept together");
        let row = |p: &usize| self.positions.iter().position(|q| q == p).expect("swept together");
        take(result, &positions.iter().map(row).collect::<Vec<_>>())
    }
}
