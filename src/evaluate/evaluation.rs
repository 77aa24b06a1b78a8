//! Running an attack over a data set.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Int, Tensor};
use rayon::prelude::*;

use super::budget::{Violations, enforce};
use super::robustness::readable;
use super::{AttackRecord, Distances, EvaluationError, GradientState, ImageRecord, Outcome, Robustness};
use crate::attack::{Attack, Goal};
use crate::classifier::Frozen;
use crate::data::{DataError, LabeledImages};
use crate::pixels::Epsilon;

/// Progress of an evaluation, in image passes: one for every image without attack, and one for every image
/// at every epsilon, attacked or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Passes done.
    pub done: usize,
    /// Passes of the whole run.
    pub total: usize,
}

/// Classifies every image, attacks those that are right, and judges the result.
///
/// The attack is untargeted and runs only on images that are classified correctly; the others stay as they
/// are and stay wrong. Its result is held to the budget here: what leaves the epsilon ball or \[0,1\] is
/// projected back and counted. An adversarial image with a NaN logit counts as wrong.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | attack | none: only clean metrics | |
/// | epsilons | the attack's own | finite, at least 0 |
/// | batch size | 16 | at least 1 |
///
/// ```
/// use histoguard::data::TensorSet;
/// use histoguard::evaluate::Evaluation;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // "bright" above one half.
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let images = Tensor::<1>::from_floats([0.2, 0.45, 0.6, 0.9], &device).reshape([4, 1, 1, 1]);
/// let data = TensorSet::new(images, vec![0, 0, 1, 1], vec!["dark".into(), "bright".into()])?;
///
/// let robustness = Evaluation::new(&victim)
///     .attack(Fgsm::new(Epsilon::unit(0.0)))
///     .epsilons([Epsilon::unit(0.07), Epsilon::unit(0.2)])
///     .run(&data)?;
/// assert_eq!(robustness.clean.accuracy.hits, 4);
/// assert_eq!(robustness.sweep[0].metrics.accuracy.hits, 3);
/// assert_eq!(robustness.sweep[1].metrics.accuracy.hits, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Evaluation<'a> {
    victim: &'a Frozen,
    attack: Option<Box<dyn Attack>>,
    epsilons: Option<Vec<Epsilon>>,
    batch_size: usize,
    on_progress: Option<Box<dyn Fn(Progress) + 'a>>,
    cancel: Option<&'a AtomicBool>,
}

impl<'a> Evaluation<'a> {
    /// An evaluation of this classifier, without attack.
    pub fn new(victim: &'a Frozen) -> Self {
        Self { victim, attack: None, epsilons: None, batch_size: 16, on_progress: None, cancel: None }
    }

    /// With this attack.
    pub fn attack(self, attack: impl Attack + 'static) -> Self {
        self.boxed_attack(Box::new(attack))
    }

    /// With an attack that was chosen at run time.
    pub fn boxed_attack(mut self, attack: Box<dyn Attack>) -> Self {
        self.attack = Some(attack);
        self
    }

    /// With the attack at each of these budgets instead of its own; they are sorted, and each is run once.
    /// Zero is the unattacked classifier.
    pub fn epsilons(mut self, epsilons: impl IntoIterator<Item = Epsilon>) -> Self {
        self.epsilons = Some(epsilons.into_iter().collect());
        self
    }

    /// Images that are loaded and classified at a time. It changes speed and memory, not results, as far as
    /// the classifier itself treats images independently.
    pub fn batch_size(mut self, images: usize) -> Self {
        self.batch_size = images;
        self
    }

    /// Calls back after every step.
    pub fn on_progress(mut self, callback: impl Fn(Progress) + 'a) -> Self {
        self.on_progress = Some(Box::new(callback));
        self
    }

    /// Stops between two steps once the flag is set.
    pub fn cancel_with(mut self, flag: &'a AtomicBool) -> Self {
        self.cancel = Some(flag);
        self
    }

    /// Evaluates these images.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`]: a parameter out of its range, no image, a classifier with another number of
    /// classes, an image that cannot be read, an attack that refuses, a result of the wrong shape, or the
    /// cancel flag.
    pub fn run(&self, data: &dyn LabeledImages) -> Result<Robustness, EvaluationError> {
        let sweep = self.sweep(data)?;
        let passes = Passes { done: Cell::new(0), total: data.len() * (1 + sweep.len()), evaluation: self };
        let mut records = Vec::with_capacity(data.len());
        for start in (0..data.len()).step_by(self.batch_size) {
            let positions: Vec<usize> = (start..data.len().min(start + self.batch_size)).collect();
            records.extend(self.run_batch(data, &positions, &sweep, &passes)?);
        }
        Ok(Robustness::from_records(
            self.attack.as_ref().map(|attack| (attack.name().to_string(), attack.norm())),
            data.classes().to_vec(),
            data.is_synthetic(),
            &sweep.iter().map(|(epsilon, _)| *epsilon).collect::<Vec<_>>(),
            records,
        ))
    }

    /// The attack at every epsilon, after all checks that need no image.
    fn sweep(&self, data: &dyn LabeledImages) -> Result<Vec<AtEpsilon>, EvaluationError> {
        if self.batch_size == 0 {
            let (parameter, expected) = ("batch size", "at least 1");
            return Err(EvaluationError::Parameter { parameter, expected, found: "0".into() });
        }
        if data.is_empty() {
            return Err(EvaluationError::Empty);
        }
        let (expected, found) = (data.classes().len(), self.victim.num_classes());
        if expected != found {
            return Err(EvaluationError::Classes { expected, found });
        }
        if let Some(bad) = (0..data.len()).map(|p| data.label(p)).find(|&label| label >= expected) {
            let expected = format!("labels below {expected}, the number of classes");
            return Err(DataError::Labels { expected, found: bad.to_string() }.into());
        }
        let Some(attack) = &self.attack else { return Ok(Vec::new()) };
        let Some(mut epsilons) = self.epsilons.clone().or(attack.epsilon().map(|own| vec![own])) else {
            let (parameter, found) = ("epsilons", format!("none, and {} has none of its own", attack.name()));
            return Err(EvaluationError::Parameter { parameter, expected: "at least one", found });
        };
        if let Some(bad) = epsilons.iter().find(|e| !e.is_valid()) {
            let (parameter, expected) = ("epsilon", "a finite number of at least 0");
            return Err(EvaluationError::Parameter { parameter, expected, found: bad.value().to_string() });
        }
        epsilons.iter_mut().for_each(|e| *e = readable(*e));
        epsilons.sort_by(|a, b| a.value().total_cmp(&b.value()));
        epsilons.dedup();
        Ok(epsilons.into_iter().map(|e| (e, attack.with_epsilon(e))).collect())
    }

    fn run_batch(
        &self,
        data: &dyn LabeledImages,
        positions: &[usize],
        sweep: &[AtEpsilon],
        passes: &Passes<'_, 'a>,
    ) -> Result<Vec<ImageRecord>, EvaluationError> {
        passes.check()?;
        let batch = data.batch(positions, self.victim.device())?;
        let clean = self.classify(batch.images.clone())?;
        passes.add(positions.len());
        let mut records: Vec<ImageRecord> = positions
            .iter()
            .zip(clean)
            .map(|(&position, clean)| ImageRecord {
                name: data.name(position),
                group: data.group(position),
                label: data.label(position),
                clean,
                gradient: GradientState::NotSeen,
                attacks: Vec::with_capacity(sweep.len()),
            })
            .collect();

        let right: Vec<usize> =
            (0..records.len()).filter(|&i| records[i].clean.is(records[i].label)).collect();
        let targets = Targets::new(batch.images, &right, &records, &batch.indices);
        if let Some(targets) = &targets
            && sweep.iter().any(|(epsilon, _)| *epsilon != Epsilon::ZERO)
        {
            passes.check()?;
            for (&i, state) in right.iter().zip(targets.gradient_states(self.victim)) {
                records[i].gradient = state;
            }
        }
        for (epsilon, attack) in sweep {
            for record in &mut records {
                record.attacks.push(AttackRecord {
                    outcome: record.clean,
                    distances: None,
                    over_budget: false,
                    out_of_range: false,
                    not_finite: false,
                });
            }
            if let Some(targets) = &targets {
                passes.check()?;
                let attacked = self.attack_batch(attack.as_ref(), *epsilon, targets, &records, &right)?;
                for (&i, attacked) in right.iter().zip(attacked) {
                    *records[i].attacks.last_mut().expect("pushed above") = attacked;
                }
            }
            passes.add(positions.len());
        }
        Ok(records)
    }

    fn attack_batch(
        &self,
        attack: &dyn Attack,
        epsilon: Epsilon,
        targets: &Targets,
        records: &[ImageRecord],
        right: &[usize],
    ) -> Result<Vec<AttackRecord>, EvaluationError> {
        let shape = targets.images.dims();
        let [count, channels, height, width] = shape;
        let size = channels * height * width;
        let mut pixels = targets.pixels.clone();
        let mut violations = vec![Violations::default(); count];
        let mut outcomes: Vec<Outcome> = right.iter().map(|&i| records[i].clean).collect();
        if epsilon != Epsilon::ZERO {
            let result = attack.perturb(self.victim, targets.images.clone(), &targets.goal)?;
            expect_shape("the attack's result", &shape, &result.dims())?;
            pixels = to_vec(result);
            violations = pixels
                .par_chunks_mut(size)
                .zip(targets.pixels.par_chunks(size))
                .map(|(adversarial, original)| enforce(original, adversarial, attack.norm(), epsilon.value()))
                .collect();
            let images = Tensor::<1>::from_floats(pixels.as_slice(), self.victim.device()).reshape(shape);
            outcomes = self.classify(images)?;
        }
        let distances: Vec<Distances> = targets
            .pixels
            .par_chunks(size)
            .zip(pixels.par_chunks(size))
            .map(|(original, adversarial)| {
                Distances::between(original, adversarial, [channels, height, width])
            })
            .collect();
        Ok(outcomes
            .into_iter()
            .zip(distances)
            .zip(violations)
            .map(|((outcome, distances), violations)| AttackRecord {
                outcome,
                distances: Some(distances),
                over_budget: violations.over_budget,
                out_of_range: violations.out_of_range,
                not_finite: violations.not_finite,
            })
            .collect())
    }

    fn classify(&self, images: Tensor<4>) -> Result<Vec<Outcome>, EvaluationError> {
        let expected = [images.dims()[0], self.victim.num_classes()];
        let logits = self.victim.logits(images);
        expect_shape("the classifier's logits", &expected, &logits.dims())?;
        Ok(Outcome::from_batch(logits))
    }
}

impl std::fmt::Debug for Evaluation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluation")
            .field("victim", &self.victim)
            .field("attack", &self.attack)
            .field("epsilons", &self.epsilons)
            .field("batch_size", &self.batch_size)
            .finish_non_exhaustive()
    }
}

/// An attack with the budget that it runs with.
type AtEpsilon = (Epsilon, Box<dyn Attack>);

/// The images of a batch that are attacked, on the device and in memory.
struct Targets {
    images: Tensor<4>,
    pixels: Vec<f32>,
    goal: Goal,
}

impl Targets {
    /// `None` if there is no image to attack.
    fn new(images: Tensor<4>, right: &[usize], records: &[ImageRecord], indices: &[u64]) -> Option<Self> {
        if right.is_empty() {
            return None;
        }
        let select: Vec<i64> = right.iter().map(|&i| i as i64).collect();
        let images =
            images.clone().select(0, Tensor::<1, Int>::from_data(select.as_slice(), &images.device()));
        let labels: Vec<usize> = right.iter().map(|&i| records[i].label).collect();
        let goal = Goal::untargeted(labels).with_indices(right.iter().map(|&i| indices[i]).collect());
        Some(Self { pixels: to_vec(images.clone()), images, goal })
    }

    fn gradient_states(&self, victim: &Frozen) -> Vec<GradientState> {
        let gradient =
            victim.input_gradient(self.images.clone(), |logits| self.goal.objective(logits)).gradient;
        let [_, channels, height, width] = gradient.dims();
        let state = |image: &[f32]| match () {
            () if image.iter().any(|g| !g.is_finite()) => GradientState::NotFinite,
            () if image.iter().all(|&g| g == 0.0) => GradientState::Zero,
            () => GradientState::Usable,
        };
        to_vec(gradient).chunks(channels * height * width).map(state).collect()
    }
}

struct Passes<'e, 'a> {
    done: Cell<usize>,
    total: usize,
    evaluation: &'e Evaluation<'a>,
}

impl Passes<'_, '_> {
    fn check(&self) -> Result<(), EvaluationError> {
        match self.evaluation.cancel {
            Some(flag) if flag.load(Ordering::Relaxed) => {
                Err(EvaluationError::Cancelled { done: self.done.get(), total: self.total })
            }
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

fn to_vec(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("f32 after conversion")
}

fn expect_shape(what: &'static str, expected: &[usize], found: &[usize]) -> Result<(), EvaluationError> {
    match expected == found {
        true => Ok(()),
        false => Err(EvaluationError::Shape { what, expected: expected.to_vec(), found: found.to_vec() }),
    }
}
