//! Running attacks over a data set, batch by batch and resumable.

use burn::tensor::Tensor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;
use web_time::Instant;

use super::conduct::Passes;
use super::crafting::{Targets, expect_shape};
use super::journal::{Chunk, Clean, Journal};
use super::loaded::{Loaded, rows_of};
use super::plan::{Plan, Planned};
use crate::attack::AttackError;
use crate::classifier::Frozen;
use crate::data::LabeledImages;
use crate::evaluate::EvaluationError;
use crate::evaluate::result::{AttackRecord, AttackedImage, Cost, GradientState, ImageRecord};
use crate::pixels::Budget;
use crate::rows::{take, values};

/// The kind of work that is done without an attack.
const CLEAN: &str = "clean";

/// What classifying an image costs beside a forward pass: as it is, rounded, and its gradient, which takes
/// about two.
const LOOK: f64 = 4.0;

/// How far probabilities may be from \[0,1\] and their sum from 1.
const PROBABILITY: f32 = 1e-5;

/// What the classifier said to images that it was asked about twice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) images: usize,
    /// The largest difference between two logits for the same image.
    pub(crate) difference: f64,
    /// Whether all its scores are distributions over the classes.
    pub(crate) probabilities: bool,
}

pub(crate) struct Engine<'e, 'a> {
    pub(crate) victim: &'e Frozen,
    pub(crate) plan: &'e Plan<'e>,
    pub(crate) data: &'e dyn LabeledImages,
    pub(crate) passes: Passes<'e, 'a>,
    pub(crate) journal: Journal,
    pub(crate) only_survivors: bool,
}

impl Engine<'_, '_> {
    /// Every image, or every one of a shard, without attack and under every one.
    pub(crate) fn run(&mut self) -> Result<(), EvaluationError> {
        let (plan, everyone) = (self.plan, (0..self.data.len()).collect::<Vec<_>>());
        let images = self.passes.batches(&everyone).map(<[usize]>::len).sum::<usize>();
        self.passes.expect(CLEAN, images, LOOK);
        for planned in plan.all() {
            self.passes.expect(&planned.run, images * planned.jobs().len(), planned.cost());
        }
        for positions in self.passes.batches(&everyone) {
            let mut loaded = Loaded::new(self.data, self.victim, positions);
            self.classify(&mut loaded)?;
            for (earlier, planned) in plan.attacks.iter().enumerate() {
                self.attack(planned, earlier, &mut loaded)?;
            }
            for planned in &plan.semantic {
                self.attack(planned, 0, &mut loaded)?;
            }
        }
        Ok(())
    }

    fn classify(&mut self, loaded: &mut Loaded<'_>) -> Result<(), EvaluationError> {
        let pending = loaded.chosen(|p| self.journal.clean(p).is_none());
        if !pending.is_empty() {
            self.passes.go_on()?;
            let found = loaded.targets(&pending)?.classified(self.victim)?;
            let gradient = GradientState::NotSeen;
            let found = found.into_iter().map(|(outcome, eight_bit)| Clean { outcome, eight_bit, gradient });
            let mut clean: Vec<(usize, Clean)> = pending.iter().copied().zip(found).collect();
            let is_right = |(p, clean): &(usize, Clean)| clean.outcome.is(self.data.label(*p));
            let right: Vec<usize> = clean.iter().filter(|image| is_right(image)).map(|(p, _)| *p).collect();
            if self.plan.moves() && !right.is_empty() {
                self.passes.go_on()?;
                let states = loaded.targets(&right)?.gradient_states(self.victim);
                let right = clean.iter_mut().filter(|image| is_right(image));
                right.zip(states).for_each(|((_, clean), state)| clean.gradient = state);
            }
            self.journal.add(Chunk { clean, ..Chunk::of(CLEAN) })?;
        }
        self.passes.add(CLEAN, loaded.positions.len(), !pending.is_empty());
        Ok(())
    }

    /// An attack with each of its budgets, after this many of the plan's attacks.
    fn attack(
        &mut self,
        planned: &Planned<'_>,
        earlier: usize,
        loaded: &mut Loaded<'_>,
    ) -> Result<(), EvaluationError> {
        let jobs = planned.jobs();
        let pending = |(job, budget): (usize, &Option<Budget>)| {
            let budget = budget.or(planned.budgets.first().copied());
            let falls = |p| budget.is_some_and(|budget| self.fallen_before(earlier, budget, p).is_some());
            let is_open = |p| self.is_right(p) && self.journal.record(&planned.run, job, p).is_none();
            loaded.chosen(|p| is_open(p) && !falls(p))
        };
        let pending: Vec<Vec<usize>> = jobs.iter().enumerate().map(pending).collect();
        let (mut shared, cost) = self.shared(planned, &pending, loaded)?;
        let together = !shared.is_empty();
        let mut chunk = Chunk { cost, ..Chunk::of(&planned.run) };
        for (job, (&budget, pending)) in jobs.iter().zip(&pending).enumerate() {
            if !pending.is_empty() {
                self.passes.go_on()?;
                let targets = loaded.targets(pending)?;
                let records = match shared.remove(&job) {
                    _ if budget.is_some_and(Budget::is_zero) => {
                        targets.unchanged(pending.iter().map(|&p| self.clean(p).untouched()).collect())
                    }
                    Some(result) => targets.judged(result, budget, self.victim)?,
                    None => {
                        let (result, cost) = self.perturbed(planned, budget, &targets)?;
                        chunk.cost = cost;
                        targets.judged(result, budget, self.victim)?
                    }
                };
                chunk.put(job, pending, records);
            }
            // What shares its work is finished together.
            if !chunk.records.is_empty() && (!together || job + 1 == jobs.len()) {
                self.journal.add(std::mem::replace(&mut chunk, Chunk::of(&planned.run)))?;
            }
            self.passes.add(&planned.run, loaded.positions.len(), !pending.is_empty());
        }
        Ok(())
    }

    fn perturbed(
        &self,
        planned: &Planned<'_>,
        budget: Option<Budget>,
        targets: &Targets,
    ) -> Result<(Tensor<4>, Cost), EvaluationError> {
        let at = budget.map(|budget| planned.attack.at(budget));
        let (attack, images) = (at.as_deref().unwrap_or(planned.attack), &targets.images);
        self.measured(&planned.label, images.dims()[0], || {
            attack.perturb(self.victim, images.clone(), &targets.goal)
        })
    }

    /// The results of each job and what they took, where the attack can share its work between budgets; else
    /// nothing.
    fn shared(
        &self,
        planned: &Planned<'_>,
        pending: &[Vec<usize>],
        loaded: &mut Loaded<'_>,
    ) -> Result<(BTreeMap<usize, Tensor<4>>, Cost), EvaluationError> {
        let jobs: Vec<usize> = (0..pending.len())
            .filter(|&job| !pending[job].is_empty() && planned.budgets.get(job).is_some_and(|b| !b.is_zero()))
            .collect();
        if jobs.len() < 2 {
            return Ok(Default::default());
        }
        self.passes.go_on()?;
        let positions = loaded.chosen(|p| jobs.iter().any(|&job| pending[job].contains(&p)));
        let targets = loaded.targets(&positions)?;
        let budgets: Vec<Budget> = jobs.iter().map(|&job| planned.budgets[job]).collect();
        let images = jobs.iter().map(|&job| pending[job].len()).sum();
        let (results, cost) = self.measured(&planned.label, images, || {
            planned.attack.perturb_each(self.victim, &targets.images, &targets.goal, &budgets)
        })?;
        let Some(results) = results else { return Ok(Default::default()) };
        expect_shape("the attack's results, one a budget", &[jobs.len()], &[results.len()])?;
        let of_job = |(job, result): (usize, Tensor<4>)| {
            expect_shape("the attack's result", &targets.images.dims(), &result.dims())?;
            Ok((job, take(&result, &rows_of(&pending[job], &positions))))
        };
        let results: Result<_, EvaluationError> = jobs.into_iter().zip(results).map(of_job).collect();
        Ok((results?, cost))
    }

    /// An attack outside the plan, with a single budget or none, on these images.
    pub(crate) fn extra(
        &mut self,
        planned: &Planned<'_>,
        positions: &[usize],
    ) -> Result<Vec<AttackRecord>, EvaluationError> {
        for positions in self.passes.batches(positions) {
            self.attack(planned, 0, &mut Loaded::new(self.data, self.victim, positions))?;
        }
        let found = positions.iter().map(|&p| self.journal.record(&planned.run, 0, p).copied());
        Ok(found.collect::<Option<_>>().expect("run above"))
    }

    /// What `look` notes of each of these images, batch by batch, kept under this name.
    pub(crate) fn noted<N: Serialize + DeserializeOwned>(
        &mut self,
        run: &str,
        positions: &[usize],
        look: impl Fn(&Self, &Targets) -> Result<Vec<N>, EvaluationError>,
    ) -> Result<Vec<N>, EvaluationError> {
        self.passes.expect_more(run, positions.len(), LOOK);
        for positions in self.passes.batches(positions) {
            let mut loaded = Loaded::new(self.data, self.victim, positions);
            let pending = loaded.chosen(|p| self.journal.note::<N>(run, p).is_none());
            let fresh = !pending.is_empty();
            if fresh {
                self.passes.go_on()?;
                let notes = look(self, &loaded.targets(&pending)?)?;
                let notes = pending.into_iter().zip(notes.into_iter().map(|note| json!(note))).collect();
                self.journal.add(Chunk { notes, ..Chunk::of(run) })?;
            }
            self.passes.add(run, positions.len(), fresh);
        }
        Ok(positions.iter().map(|&p| self.journal.note(run, p).expect("noted above")).collect())
    }

    /// Runs the attack of this name, and says what it took.
    fn measured<T>(
        &self,
        label: &str,
        images: usize,
        work: impl FnOnce() -> Result<T, AttackError>,
    ) -> Result<(T, Cost), EvaluationError> {
        let (watch, started) = (self.victim.watch(), Instant::now());
        let before = watch.queries();
        let result = work().map_err(|error| self.passes.ended(label, error))?;
        let queries = watch.queries() - before;
        Ok((result, Cost { queries, seconds: started.elapsed().as_secs_f64(), images }))
    }

    /// Asks for the logits of these images twice.
    pub(crate) fn ask_twice(&self, positions: &[usize]) -> Result<Asked, EvaluationError> {
        let mut asked = Asked { images: positions.len(), difference: 0.0, probabilities: true };
        for positions in self.passes.batches(positions) {
            self.passes.go_on()?;
            let images = self.data.batch(positions, self.victim.device())?.images;
            let logits = || values(self.victim.logits(images.clone()));
            let (first, second) = (logits(), logits());
            // NaN both times is the same answer.
            let other =
                first.iter().zip(&second).filter(|(first, second)| first.to_bits() != second.to_bits());
            let apart = other.map(|(&first, &second)| (f64::from(first) - f64::from(second)).abs());
            let differences = apart.map(|d| if d.is_nan() { f64::INFINITY } else { d });
            asked.difference = differences.fold(asked.difference, f64::max);
            let is_distribution = |scores: &[f32]| {
                let inside = scores.iter().all(|s| (-PROBABILITY..=1.0 + PROBABILITY).contains(s));
                inside && (scores.iter().sum::<f32>() - 1.0).abs() < PROBABILITY
            };
            asked.probabilities &= first.chunks(self.victim.num_classes()).all(is_distribution);
        }
        Ok(asked)
    }

    /// Number of values of an image.
    pub(crate) fn values(&self) -> Result<usize, EvaluationError> {
        let first = self.data.batch(&[0], self.victim.device())?.images;
        Ok(first.dims()[1..].iter().product())
    }

    fn clean(&self, position: usize) -> Clean {
        *self.journal.clean(position).expect("every image was classified")
    }

    fn is_right(&self, position: usize) -> bool {
        self.clean(position).outcome.is(self.data.label(position))
    }

    /// What became of every image, without attack and under every one.
    pub(crate) fn records(&self) -> Vec<ImageRecord> {
        let record = |position: usize| {
            let Clean { outcome, eight_bit, gradient } = self.clean(position);
            let under = |attack: usize| AttackedImage {
                searched: self.searched(attack, position),
                at: (0..self.plan.attacks[attack].budgets.len())
                    .map(|budget| self.record(attack, budget, position))
                    .collect(),
            };
            ImageRecord {
                name: self.data.name(position),
                group: self.data.group(position),
                label: self.data.label(position),
                clean: outcome,
                clean_eight_bit: eight_bit,
                gradient,
                attacks: (0..self.plan.attacks.len()).map(under).collect(),
                semantic: self.plan.semantic.iter().map(|planned| self.semantic(planned, position)).collect(),
            }
        };
        (0..self.data.len()).map(record).collect()
    }

    /// What became of an image under a semantic attack, whatever other attacks made of it.
    fn semantic(&self, planned: &Planned<'_>, position: usize) -> AttackRecord {
        let found = self.journal.record(&planned.run, 0, position).copied();
        found.unwrap_or_else(|| self.clean(position).untouched())
    }

    /// What a search found, without a budget; `None` if it did not look at the image.
    fn searched(&self, attack: usize, position: usize) -> Option<AttackRecord> {
        let planned = &self.plan.attacks[attack];
        planned.searches().then(|| self.journal.record(&planned.run, 0, position).copied()).flatten()
    }

    /// What became of an image under an attack with one of its budgets.
    fn record(&self, attack: usize, budget: usize, position: usize) -> AttackRecord {
        if !self.is_right(position) {
            return self.clean(position).untouched();
        }
        let size = self.plan.attacks[attack].budgets[budget];
        if let Some(fallen) = self.fallen_before(attack, size, position) {
            return AttackRecord::untouched(fallen.outcome, fallen.eight_bit);
        }
        self.attacked(attack, budget, position).expect("every image that was right was attacked")
    }

    /// What an attack made of an image with one of its budgets; `None` if it did not attack it.
    fn attacked(&self, attack: usize, budget: usize, position: usize) -> Option<AttackRecord> {
        let planned = &self.plan.attacks[attack];
        if !planned.searches() {
            return self.journal.record(&planned.run, budget, position).copied();
        }
        let found = self.searched(attack, position)?;
        let (distances, budget) = (found.distances?, planned.budgets[budget]);
        if budget.holds(distances.in_norm(budget.norm())) {
            return Some(found);
        }
        Some(AttackRecord { distances: Some(distances.unchanged()), ..self.clean(position).untouched() })
    }

    /// With later attacks on survivors alone, the record by which an image fell to an earlier attack in the
    /// same norm and on the same pixels, with at most this budget.
    fn fallen_before(&self, attack: usize, budget: Budget, position: usize) -> Option<AttackRecord> {
        let mask = |a: usize| &self.plan.attacks[a].profile.mask;
        let earlier = if self.only_survivors { 0..attack } else { 0..0 };
        let earlier = earlier.filter(|&a| mask(a) == mask(attack));
        let mut records = earlier.flat_map(|a| {
            let budgets = self.plan.attacks[a].budgets.iter().enumerate();
            let smaller = budgets.filter(|(_, smaller)| **smaller <= budget);
            smaller.filter_map(move |(at, _)| self.attacked(a, at, position))
        });
        records.find(|record| !record.outcome.is(self.data.label(position)))
    }
}
