//! Attacks as another crate would write them, from what is public alone.

mod small;
mod victim;

use std::sync::atomic::{AtomicBool, Ordering};

use burn::config::Config;
use histoguard::attack::steps::Smallest;
use histoguard::attack::{Access, Aim, Attack, AttackError, Goals, Profile, Task, norm_among};
use histoguard::classifier::Queries;
use histoguard::data::{LabeledImages, TensorSet};
use histoguard::evaluate::{Evaluation, EvaluationError, EvaluationResult, Proportion, Run, Verdict};
use histoguard::parameter::Parameter;
use histoguard::pixels::uniform_in_ball;
use histoguard::prelude::*;
use histoguard::random::{Purpose, RngExt};
use histoguard::rows::{factors, values};

use small::{Plain, bright, hits, linf, worst};

/// What the starts of [`RandomSigns`] are drawn for.
const START: Purpose = Purpose::named("the start of random signs");

/// The norms that both attacks know.
const NORMS: [Norm; 3] = [Norm::Linf, Norm::L2, Norm::L1];

/// Equal steps up the gradient from a random point of the ball.
#[derive(Config, Debug)]
struct RandomSigns {
    /// How far each image may be changed.
    budget: Budget,
    /// Number of steps.
    #[config(default = 4)]
    steps: usize,
    /// How often the steps together are as long as the budget; with 2 they cross the whole ball.
    #[config(default = 2.0)]
    reach: f64,
    /// Of the starts.
    #[config(default = 0)]
    seed: u64,
}

impl Attack for RandomSigns {
    fn profile(&self) -> Profile {
        Profile {
            name: "Random signs".into(),
            aim: Aim::Within(self.budget),
            goals: Goals::Any,
            access: Access::Gradients,
            steps: Some(self.steps),
            queries: Some(Queries::gradients(self.steps)),
            mask: None,
        }
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        vec![
            norm_among(self.budget.norm(), &NORMS),
            Parameter::at_least("steps", self.steps, 1),
            Parameter::above_zero("reach", self.reach),
        ]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(Self { budget, ..self.clone() })
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(self.clone().with_steps(2 * self.steps)))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        let (norm, size) = (self.budget.norm(), self.budget.size());
        let draws = task.draws(START, self.seed, &[]);
        let start = draws.perturbations(&task.images(), |image, rng| uniform_in_ball(norm, size, image, rng));
        let mut points = task.add(start, self.budget);
        let step = self.reach * size / self.steps as f64;
        for _ in 0..self.steps {
            task.step()?;
            let up = norm.unit_step(task.ascent(&points).gradient);
            points = task.project(points + up * step, self.budget);
        }
        Ok(points)
    }
}

/// Halves, again and again, the way along the gradient to the nearest image of the goal.
#[derive(Config, Debug)]
struct Bisection {
    /// What measures the way.
    norm: Norm,
    /// The longest way that counts.
    limit: Option<Budget>,
    /// Number of halvings.
    #[config(default = 20)]
    steps: usize,
}

impl Attack for Bisection {
    fn profile(&self) -> Profile {
        Profile {
            name: "Bisection".into(),
            aim: Aim::Smallest { norm: self.norm, limit: self.limit },
            goals: Goals::Any,
            access: Access::Gradients,
            steps: Some(self.steps),
            queries: Some(Queries::forwards(1 + self.steps) + Queries::gradients(1)),
            mask: None,
        }
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        vec![norm_among(self.norm, &NORMS), Parameter::at_least("steps", self.steps, 1)]
    }

    fn at(&self, budget: Budget) -> Box<dyn Attack> {
        Box::new(self.clone().with_limit(Some(budget)))
    }

    fn stronger(&self) -> Option<Box<dyn Attack>> {
        Some(Box::new(self.clone().with_steps(2 * self.steps)))
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Smallest::search(&task, (self.norm, self.limit), 0.0, |open, _, found| {
            let images = open.images();
            let way = self.norm.unit_step(open.ascent(&images).gradient);
            // No two images are further apart.
            let longest = values(self.norm.measure(images.ones_like()));
            let (mut short, mut long) = (vec![0.0; open.len()], longest);
            for _ in 0..self.steps {
                open.step()?;
                let middle: Vec<f32> = short.iter().zip(&long).map(|(s, l)| (s + l) / 2.0).collect();
                let points = (images.clone() + way.clone() * factors(&middle, &way)).clamp(0.0, 1.0);
                let reached = open.reached(&points);
                found.offer(open.positions(), &points, &reached);
                for (row, reached) in reached.into_iter().enumerate() {
                    *(if reached { &mut long[row] } else { &mut short[row] }) = middle[row];
                }
            }
            Ok(())
        })
    }
}

fn random_signs() -> Box<dyn Attack> {
    // Short steps, so that the start is still seen in the end.
    Box::new(RandomSigns::new(Budget::pixels(0.0)).with_reach(1.0))
}

fn bisection() -> Box<dyn Attack> {
    Box::new(Bisection::new(Norm::Linf))
}

fn budgets() -> [Budget; 3] {
    [0.08, 0.12, 0.22].map(linf)
}

#[test]
fn a_bounded_attack_breaks_what_is_near_enough() {
    let victim = bright();
    let across = RandomSigns::new(Budget::pixels(0.0));
    let evaluation = Evaluation::new(&victim).attack(across).attacks([random_signs()]).budgets(budgets());
    let result = evaluation.run(&Plain::eight()).unwrap();
    // Right images are 0.4, 0.2, 0.05 | 0.1, 0.15, 0.4 away. Across the whole ball every value ends at its
    // edge.
    assert_eq!(hits(&result, "Random signs"), [5, 4, 2]);
    let edge = result.attacks[0].sweep[1].perturbation;
    assert!((edge.linf.mean.unwrap() - 0.12).abs() < 1e-6 && (edge.l1.mean.unwrap() - 51.84).abs() < 1e-2);
    // From u in [-1, 1] one budget further, but not over the edge: min(u + 1, 1) is 3/4 on average, which
    // are ways of 0.06, 0.09 and 0.165. The mean over 432 values strays from 3/4 by 0.016.
    assert_eq!(hits(&result, "Random signs (2)"), [5, 5, 3]);
    let moved = result.attacks[1].sweep[1].perturbation.l1.mean.unwrap() / 51.84;
    assert!((moved - 0.75).abs() < 0.03, "{moved}");
    assert_eq!(worst(&result), [5, 4, 2]);
    assert_eq!(result.attacks[1].settings["reach"], 1.0);
    assert_eq!((result.attacks[1].images, result.attacks[1].queries), (18, Queries::gradients(18 * 4)));
    let bad: Vec<_> = result.checks.iter().filter(|check| check.verdict == Verdict::Suspicious).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn a_search_finds_how_far_each_image_is() {
    let victim = bright();
    for (norm, unit) in [(Norm::Linf, 1.0), (Norm::L2, 432f64.sqrt()), (Norm::L1, 432.0)] {
        let near = |found: f64, by_hand: f64| (found / unit - by_hand).abs() < 1e-5;
        let sweep = [0.07, 0.12, 0.22].map(|size| Budget::new(norm, Epsilon::unit(size * unit)));
        let evaluation = Evaluation::new(&victim).attack(Bisection::new(norm)).budgets(sweep);
        let result = evaluation.run(&Plain::eight()).unwrap();
        let attack = &result.attacks[0];
        // The middle two of 0.05, 0.1, 0.15, 0.2, 0.4 and 0.4.
        assert!(near(attack.minimal.median.unwrap(), 0.175), "{norm}: {:?}", attack.minimal);
        assert_eq!(attack.minimal.broken, Proportion::new(6, 6));
        let ways = [(0, 0.4), (1, 0.2), (2, 0.05), (5, 0.1), (6, 0.15), (7, 0.4)];
        for (image, way) in ways {
            let found = result.records[image].attacks[0].searched.unwrap();
            let length = found.distances.unwrap().in_norm(norm);
            assert!(near(length, way) && !found.outcome.is(result.records[image].label), "{norm} {length}");
        }
        assert_eq!(hits(&result, "Bisection"), [5, 4, 2], "{norm}");
        // Once for all budgets: a first look, twenty halvings and one gradient.
        let once = Queries { forwards: 6 * 21, gradients: 6 };
        assert_eq!((attack.images, attack.queries), (6, once), "{norm}");
        assert!(
            result.checks.iter().all(|check| check.verdict != Verdict::Suspicious),
            "{:?}",
            result.checks
        );

        // With a limit of its own it is a bounded attack.
        let limited = Bisection::new(norm).with_limit(Some(sweep[1]));
        let result = Evaluation::new(&victim).attack(limited).run(&Plain::eight()).unwrap();
        assert_eq!((hits(&result, "Bisection"), result.attacks[0].minimal.searched), (vec![4], false));
        assert_eq!(result.attacks[0].sweep[0].perturbation.unchanged, 4, "{norm}");
    }
}

#[test]
fn both_go_towards_a_target_and_leave_what_is_there() {
    let victim = bright();
    let images = Plain::eight().batch(&[0, 1, 2, 7], &Device::default()).unwrap().images;
    let goal = Goal::targeted([1, 1, 1, 1]);
    let signs = RandomSigns::new(linf(0.21)).perturb(&victim, images.clone(), &goal).unwrap();
    assert_eq!(victim.predict(signs), [0, 1, 1, 1]);
    let found = Bisection::new(Norm::Linf).perturb(&victim, images.clone(), &goal).unwrap();
    assert_eq!(victim.predict(found.clone()), [1, 1, 1, 1]);
    let moved = values(Norm::Linf.measure(found - images));
    assert!((moved[0] - 0.4).abs() < 1e-5 && moved[3] == 0.0, "{moved:?}");
}

#[test]
fn what_does_not_fit_is_refused_before_any_query() {
    let victim = bright();
    let image = || Tensor::full([1, 3, 4, 4], 0.6, &Device::default());
    let refused = |attack: &dyn Attack| {
        let error = attack.perturb(&victim, image(), &Goal::untargeted([1])).unwrap_err();
        assert!(matches!(error, AttackError::Parameter(_)), "{error:?}");
        error.to_string()
    };
    let budget = linf(0.1);
    assert_eq!(refused(&RandomSigns::new(Budget::l0(3))), "norm: expected Linf, L2 or L1, found L0");
    assert_eq!(refused(&RandomSigns::new(budget).with_steps(0)), "steps: expected at least 1, found 0");
    assert_eq!(
        refused(&RandomSigns::new(linf(-0.1))),
        "budget: expected a finite number of at least 0, found -0.1"
    );
    let mixed = Bisection::new(Norm::L2).with_limit(Some(budget));
    assert_eq!(refused(&mixed), "limit: expected a budget in L2, found Linf 25.5/255");
    assert_eq!(victim.watch().queries(), Queries::NONE);
}

#[test]
fn every_run_within_a_run_draws_anew() {
    let victim = bright();
    let images = Tensor::zeros([1, 3, 4, 4], &Device::default());
    let task = Task::new(&victim, images, &Goal::untargeted([0]), random_signs().profile()).unwrap();
    let drawn = |task: &Task<'_>| {
        let [start, again] = [task.draws(START, 0, &[]), task.draws_of_run(START, 0)];
        [start, again].map(|draws| draws.generator(0).random::<u64>())
    };
    let once = (0..3).map(|run| task.in_run(run));
    let twice = (1..3).flat_map(|outer| (1..3).map(move |inner| (outer, inner)));
    let twice = twice.map(|(outer, inner)| task.in_run(outer).in_run(inner));
    let mut all: Vec<u64> = once.chain(twice).flat_map(|task| drawn(&task)).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    // In runs after the first the two are drawn alike.
    assert_eq!((count, all.len()), (14, 8));
}

/// What evaluations of this attack find in batches of this size.
fn found(attack: fn() -> Box<dyn Attack>, batch: usize) -> [EvaluationResult; 2] {
    let (victim, network) = (bright(), victim::victim(2));
    let classes = vec!["benign".into(), "malignant".into()];
    let data = TensorSet::new(victim::images(2), victim::labels(2), classes).unwrap();
    let plain = Evaluation::new(&victim).attacks([attack()]).budgets(budgets());
    let trained = Evaluation::new(&network).attacks([attack()]).budgets([8.0, 64.0].map(Budget::pixels));
    let results =
        [plain.batch_size(batch).run(&Plain::eight()), trained.batch_size(batch).check_images(4).run(&data)];
    results.map(|result| result.unwrap().without_timing())
}

/// The same in batches of any size and on any number of threads.
fn the_same_however_it_runs(attack: fn() -> Box<dyn Attack>) {
    let one = found(attack, 1);
    assert!(one[0].attacks[0].minimal.broken.hits > 0);
    for batch in [3, 8] {
        assert!(found(attack, batch) == one, "batches of {batch}");
    }
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| found(attack, 3)) == one, "{threads} threads");
    }
}

/// An evaluation that is cancelled and resumed finds what one without a break finds, and asks for no gradient
/// twice.
fn the_same_after_interruptions(attack: fn() -> Box<dyn Attack>) {
    let folder = tempfile::tempdir().unwrap();
    let (victim, other) = (bright(), bright());
    let run = |batch: usize, stop_at: usize| {
        let flag = AtomicBool::new(false);
        Evaluation::new(&victim)
            .attacks([attack()])
            .budgets(budgets())
            .resume_from(folder.path())
            .batch_size(batch)
            .on_progress(|p| flag.store(p.done >= stop_at, Ordering::Relaxed))
            .cancel_with(&flag)
            .run(&Plain::eight())
    };
    for (batch, stop_at) in [(3, 3), (3, 5), (2, 9), (5, 13)] {
        let error = run(batch, stop_at).unwrap_err();
        assert!(matches!(error, EvaluationError::Cancelled { .. }), "{error}");
    }
    let resumed = run(4, usize::MAX).unwrap();
    let at_once =
        Evaluation::new(&other).attacks([attack()]).budgets(budgets()).run(&Plain::eight()).unwrap();
    assert!(resumed.without_timing() == at_once.without_timing());
    assert_eq!(victim.watch().queries().gradients, other.watch().queries().gradients);
}

#[test]
fn random_signs_are_the_same_however_they_run() {
    the_same_however_it_runs(random_signs);
}

#[test]
fn random_signs_go_on_after_interruptions() {
    the_same_after_interruptions(random_signs);
}

#[test]
fn a_bisection_is_the_same_however_it_runs() {
    the_same_however_it_runs(bisection);
}

#[test]
fn a_bisection_goes_on_after_interruptions() {
    the_same_after_interruptions(bisection);
}

#[test]
fn ensembles_take_both_kinds_and_find_the_worst_of_each_image() {
    let victim = bright();
    let members: Vec<Box<dyn Attack>> =
        vec![Box::new(RandomSigns::new(linf(0.12)).with_reach(1.0)), Box::new(RandomSigns::new(linf(0.12)))];
    let result = Evaluation::new(&victim)
        .attack(Ensemble::new(members).unwrap())
        .attack(RandomSigns::new(linf(0.12)))
        .budgets(budgets())
        .run(&Plain::eight())
        .unwrap();
    // The member that crosses the whole ball decides.
    assert_eq!(hits(&result, "Ensemble"), hits(&result, "Random signs"));

    let rough: Box<dyn Attack> = Box::new(Bisection::new(Norm::Linf).with_steps(3));
    let both = Ensemble::new(vec![rough, bisection()]).unwrap();
    let result = Evaluation::new(&victim).attack(both).attacks([bisection()]).run(&Plain::eight()).unwrap();
    assert!(result.attacks[0].minimal.searched);
    assert_eq!(result.attacks[0].minimal, result.attacks[1].minimal, "the smaller of both is kept");

    let mixed = Ensemble::new(vec![bisection(), Box::new(RandomSigns::new(linf(0.1)))]).unwrap_err();
    assert!(mixed.to_string().contains("one for all attacks"), "{mixed}");
}

#[test]
fn restarts_never_help_the_defender() {
    let network = victim::victim(2);
    let (images, goal) = (victim::images(2), Goal::untargeted(victim::labels(2)));
    let right = |attack: &dyn Attack| {
        let found = attack.perturb(&network, images.clone(), &goal).unwrap();
        victim::right(&network, found, &victim::labels(2))
    };
    let once = RandomSigns::new(Budget::pixels(32.0)).with_steps(1).with_reach(1.0);
    let (alone, often) = (right(&once), right(&Restarts::new(once.clone(), 12)));
    assert!(often < alone, "{often} and {alone} of 32 right");
    // What draws nothing finds the same again.
    let search = Bisection::new(Norm::L2);
    let again = Restarts::new(search.clone(), 2).perturb(&network, images.clone(), &goal).unwrap();
    assert!(values(again) == values(search.perturb(&network, images.clone(), &goal).unwrap()));
}

#[test]
fn restarts_and_ensembles_are_the_same_however_they_run_and_go_on() {
    fn wrapped() -> Box<dyn Attack> {
        let inner: Box<dyn Attack> = Box::new(Restarts::new(RandomSigns::new(linf(0.1)).with_reach(0.5), 3));
        Box::new(Ensemble::new(vec![inner, Box::new(RandomSigns::new(linf(0.1)))]).unwrap())
    }
    the_same_however_it_runs(wrapped);
    the_same_after_interruptions(wrapped);
}

/// Returns what attacks must not.
#[derive(Clone, Copy, Debug, serde::Serialize)]
enum Breach {
    NotANumber,
    TooFar,
    AnotherShape,
}

impl Attack for Breach {
    fn profile(&self) -> Profile {
        Profile::within("Breach", linf(0.1), Access::Nothing, None, None)
    }

    fn parameters(&self, _: &Task<'_>) -> Vec<Parameter> {
        Vec::new()
    }

    fn at(&self, _: Budget) -> Box<dyn Attack> {
        Box::new(*self)
    }

    fn craft(&self, task: Task<'_>) -> Result<Tensor<4>, AttackError> {
        Ok(match self {
            Self::NotANumber => task.images() * f32::NAN,
            Self::TooFar => task.images() - 0.25,
            Self::AnotherShape => Tensor::cat(vec![task.images(); 2], 0),
        })
    }
}

#[test]
fn a_broken_contract_never_passes_for_the_worst_case() {
    let victim = bright();
    let images = Tensor::full([3, 1, 2, 2], 0.75, &Device::default());
    let goal = Goal::untargeted(victim.predict(images.clone()));
    for (breach, found) in [
        (Breach::NotANumber, "NaN or infinite pixels"),
        (Breach::TooFar, "a change of 0.25"),
        (Breach::AnotherShape, "[6, 1, 2, 2]"),
    ] {
        let beside = Ensemble::new(vec![Box::new(breach), Box::new(RandomSigns::new(linf(0.1)))]).unwrap();
        for attack in [Box::new(beside) as Box<dyn Attack>, Box::new(Restarts::new(breach, 2))] {
            let error = attack.perturb(&victim, images.clone(), &goal).unwrap_err().to_string();
            let expected = format!("Breach: expected finite images [3, 1, 2, 2] within Linf {}", 0.1 * 255.0);
            assert!(error.starts_with(&expected) && error.ends_with(found), "{error}");
        }
    }
}

#[test]
fn a_budget_that_no_attack_would_use_is_refused() {
    let victim = bright();
    let evaluation = Evaluation::new(&victim).attack(RandomSigns::new(linf(0.1))).budgets([Budget::l2(0.5)]);
    let error = evaluation.run(&Plain::eight()).unwrap_err().to_string();
    assert_eq!(error, "budget: expected one in an attack's norm, found L2 0.5");
}
