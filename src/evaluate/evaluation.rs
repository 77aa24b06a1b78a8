//! Evaluating a classifier without and under attack.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::journal::Journal;
use super::plan::Plan;
use super::{Battery, EvaluationError, ImageRecord, Robustness};
use crate::attack::rows::values;
use crate::attack::{Attack, Norm};
use crate::classifier::Frozen;
use crate::data::LabeledImages;
use crate::pixels::Epsilon;
use crate::random::split_mix;

/// Progress of an evaluation, in image passes: one for every image without attack, and one for every image
/// at every epsilon of every attack, attacked or not; an attack that looks for the smallest perturbation
/// passes once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Passes done.
    pub done: usize,
    /// Passes of the whole run.
    pub total: usize,
}

/// Classifies every image, attacks those that are right, and judges the result.
///
/// The attacks are untargeted and run only on images that are classified correctly; the others stay as they
/// are and stay wrong. Every result is held to its budget here: what leaves the epsilon ball or \[0,1\] is
/// projected back and counted. An adversarial image with a NaN logit counts as wrong. An attack that looks
/// for the smallest perturbation runs once and is judged at every epsilon by what it found.
///
/// [`run`](Self::run) gives the accuracy over epsilon, [`battery`](Self::battery) everything: each attack and
/// the worst case of all, slides, intervals, costs and [checks](super::Check) of the evaluation itself.
/// Results do not depend on the batch size or the number of threads, as far as the classifier itself treats
/// images independently.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | attacks | none: only clean metrics | |
/// | epsilons | each attack's own | finite, at least 0 |
/// | only survivors | no: every attack on every image that is right | |
/// | batch size | 16 | at least 1 |
/// | seed | 0 | of the bootstrap |
/// | resamples | 2000 | of the bootstrap, at least 1 |
/// | check images | 16 | 0 for no checks that need further attacks |
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
/// let evaluation = Evaluation::new(&victim)
///     .attack(Fgsm::new(Epsilon::ZERO))
///     .attack(Fgsm::new(Epsilon::ZERO).with_norm(Norm::L2))
///     .epsilons([Epsilon::unit(0.07), Epsilon::unit(0.2)]);
/// let battery = evaluation.battery(&data)?;
/// assert_eq!(battery.clean.metrics.accuracy.hits, 4);
/// assert_eq!(battery.attacks[0].label, "FGSM Linf");
/// assert_eq!(battery.attacks[0].sweep[0].under.metrics.accuracy.hits, 3);
/// assert_eq!(battery.worst_case(Norm::Linf).unwrap().sweep[1].under.metrics.accuracy.hits, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Evaluation<'a> {
    pub(super) victim: &'a Frozen,
    pub(super) attacks: Vec<Box<dyn Attack>>,
    pub(super) epsilons: Option<Vec<Epsilon>>,
    pub(super) norm_epsilons: Vec<(Norm, Vec<Epsilon>)>,
    pub(super) only_survivors: bool,
    pub(super) batch_size: usize,
    pub(super) seed: u64,
    pub(super) resamples: usize,
    pub(super) check_images: usize,
    pub(super) training_groups: Option<BTreeSet<String>>,
    pub(super) on_progress: Option<Box<dyn Fn(Progress) + 'a>>,
    pub(super) cancel: Option<&'a AtomicBool>,
    state: Option<PathBuf>,
    fingerprint: Option<String>,
}

impl<'a> Evaluation<'a> {
    /// An evaluation of this classifier, without attack.
    pub fn new(victim: &'a Frozen) -> Self {
        Self {
            victim,
            attacks: Vec::new(),
            epsilons: None,
            norm_epsilons: Vec::new(),
            only_survivors: false,
            batch_size: 16,
            seed: 0,
            resamples: 2000,
            check_images: 16,
            training_groups: None,
            on_progress: None,
            cancel: None,
            state: None,
            fingerprint: None,
        }
    }

    /// With this attack too.
    pub fn attack(self, attack: impl Attack + 'static) -> Self {
        self.boxed_attack(Box::new(attack))
    }

    /// With this attack too, chosen at run time.
    pub fn boxed_attack(mut self, attack: Box<dyn Attack>) -> Self {
        self.attacks.push(attack);
        self
    }

    /// With these attacks too.
    pub fn attacks(mut self, attacks: impl IntoIterator<Item = Box<dyn Attack>>) -> Self {
        self.attacks.extend(attacks);
        self
    }

    /// With the attacks at each of these budgets instead of their own; they are sorted, and each is run once.
    /// Zero is the unattacked classifier.
    pub fn epsilons(mut self, epsilons: impl IntoIterator<Item = Epsilon>) -> Self {
        self.epsilons = Some(epsilons.into_iter().collect());
        self
    }

    /// The same for the attacks in one norm alone: 8/255 means something else in L2.
    pub fn epsilons_in(mut self, norm: Norm, epsilons: impl IntoIterator<Item = Epsilon>) -> Self {
        self.norm_epsilons.push((norm, epsilons.into_iter().collect()));
        self
    }

    /// Whether an attack runs only on images that no earlier attack of its norm has broken with the same
    /// budget or a smaller one. The worst case is the same and comes sooner; the accuracy of a later attack is
    /// then that of itself and all attacks before it.
    pub fn only_survivors(mut self, only: bool) -> Self {
        self.only_survivors = only;
        self
    }

    /// Images that are loaded and attacked at a time. It changes speed and memory, not results.
    pub fn batch_size(mut self, images: usize) -> Self {
        self.batch_size = images;
        self
    }

    /// Seed of the bootstrap.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Draws of the bootstrap.
    pub fn resamples(mut self, resamples: usize) -> Self {
        self.resamples = resamples;
        self
    }

    /// Images on which the checks attack again: without bound, and with twice the effort. They are spread
    /// over the images that are right. With 0 those checks, and the one for random answers, do not apply.
    pub fn check_images(mut self, images: usize) -> Self {
        self.check_images = images;
        self
    }

    /// The slides or patients of the training images, for the check that none of them is tested on.
    pub fn training_groups(mut self, groups: impl IntoIterator<Item = String>) -> Self {
        self.training_groups = Some(groups.into_iter().collect());
        self
    }

    /// Keeps what is finished in this folder and goes on with it, so that a kill costs one step: one attack
    /// with one epsilon on one batch. A folder of other attacks, epsilons, images or another classifier is
    /// refused. The folder can be deleted once the result is there.
    pub fn resume_from(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state = Some(folder.into());
        self
    }

    /// What tells the classifier from others in [`resume_from`](Self::resume_from), such as a checkpoint's
    /// hash; without it, its logits for the first four images do, which a classifier with random answers
    /// never repeats.
    pub fn fingerprint(mut self, fingerprint: impl Into<String>) -> Self {
        self.fingerprint = Some(fingerprint.into());
        self
    }

    /// Calls back after every step.
    pub fn on_progress(mut self, callback: impl Fn(Progress) + 'a) -> Self {
        self.on_progress = Some(Box::new(callback));
        self
    }

    /// Stops between two steps, and within an attack, once the flag is set.
    pub fn cancel_with(mut self, flag: &'a AtomicBool) -> Self {
        self.cancel = Some(flag);
        self
    }

    /// Evaluates these images: accuracy over epsilon under the attack, or under the worst case of several
    /// attacks in one norm.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`]: a parameter out of its range, attacks in several norms, no image, a classifier
    /// with another number of classes, an image that cannot be read, an attack that refuses, a result of the
    /// wrong shape, a state folder that does not fit, or the cancel flag.
    pub fn run(&self, data: &dyn LabeledImages) -> Result<Robustness, EvaluationError> {
        let plan = Plan::new(self, data)?;
        let norms = plan.norms();
        let (parameter, expected) = ("attacks", "attacks in one norm, or a battery");
        if norms.len() > 1 {
            let found = norms.iter().map(Norm::to_string).collect::<Vec<_>>().join(" and ");
            return Err(EvaluationError::Parameter { parameter, expected, found });
        }
        let epsilons = norms.first().map_or_else(Vec::new, |&norm| plan.epsilons(norm));
        let given = self.epsilons.is_some() || !self.norm_epsilons.is_empty();
        if let (Some(planned), true, false) = (plan.attacks.first(), epsilons.is_empty(), given) {
            let (parameter, found) = ("epsilons", format!("none, and {} has none of its own", planned.label));
            return Err(EvaluationError::Parameter { parameter, expected: "at least one", found });
        }
        let engine = self.finish(&plan, data, false)?;
        let labels: Vec<&str> = plan.attacks.iter().map(|p| p.label.as_str()).collect();
        let name = match labels.as_slice() {
            [one] => one.to_string(),
            several => format!("worst of {}", several.join(", ")),
        };
        let records = (0..data.len()).map(|position| {
            let clean = engine.clean(position);
            ImageRecord {
                name: data.name(position),
                group: data.group(position),
                label: data.label(position),
                clean: clean.outcome,
                gradient: clean.gradient,
                attacks: norms
                    .first()
                    .map_or_else(Vec::new, |&norm| super::worst_case::records(&engine, norm, position)),
            }
        });
        Ok(Robustness::from_records(
            norms.first().map(|&norm| (name, norm)),
            data.classes().to_vec(),
            data.is_synthetic(),
            &epsilons,
            records.collect(),
        ))
    }

    /// Evaluates these images under every attack, with everything that can be said about it.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), but attacks in several norms are judged norm by norm.
    pub fn battery(&self, data: &dyn LabeledImages) -> Result<Battery, EvaluationError> {
        let started = Instant::now();
        let plan = Plan::new(self, data)?;
        let mut engine = self.finish(&plan, data, true)?;
        let mut battery = Battery::assemble(self, &engine);
        battery.checks = self.watched(|| super::checks::all(self, &mut engine, &battery))?;
        battery.timing.seconds = started.elapsed().as_secs_f64();
        Ok(battery)
    }

    fn finish<'e>(
        &'e self,
        plan: &'e Plan<'e>,
        data: &'e dyn LabeledImages,
        eight_bit: bool,
    ) -> Result<Engine<'e, 'a>, EvaluationError> {
        let journal = match &self.state {
            Some(folder) => Journal::open(folder, &self.settings(plan, data, eight_bit)?)?,
            None => Journal::default(),
        };
        let mut engine = Engine::new(self, plan, data, journal, eight_bit);
        self.watched(|| engine.run())?;
        Ok(engine)
    }

    /// What an unfinished evaluation must share with this one to be gone on with.
    fn settings(
        &self,
        plan: &Plan<'_>,
        data: &dyn LabeledImages,
        eight_bit: bool,
    ) -> Result<Vec<(&'static str, String)>, EvaluationError> {
        let attacks: Vec<_> = plan.attacks.iter().map(|p| (p.attack, &p.epsilons)).collect();
        let images =
            (0..data.len()).map(|p| format!("{}\n{}\n{}\n", data.name(p), data.group(p), data.label(p)));
        let images = hash(images.flat_map(String::into_bytes).map(u64::from));
        let classifier = match &self.fingerprint {
            Some(fingerprint) => fingerprint.clone(),
            None => {
                let first: Vec<usize> = (0..data.len().min(4)).collect();
                let batch = data.batch(&first, self.victim.device())?;
                let logits = values(self.victim.logits(batch.images));
                format!("logits {:016x}", hash(logits.into_iter().map(|l| u64::from(l.to_bits()))))
            }
        };
        // In the order in which a difference is told: other images have other logits.
        Ok(vec![
            ("version", env!("CARGO_PKG_VERSION").to_string()),
            ("attacks", format!("{attacks:?}")),
            ("treatment", format!("only survivors {}, 8 bits {eight_bit}", self.only_survivors)),
            ("classes", format!("{:?}", data.classes())),
            ("images", format!("{} images, {images:016x}", data.len())),
            ("classifier", classifier),
        ])
    }

    /// Does the work; meanwhile the cancel flag stops the attack that runs, too.
    fn watched<T>(&self, work: impl FnOnce() -> Result<T, EvaluationError>) -> Result<T, EvaluationError> {
        let Some(flag) = self.cancel else { return work() };
        let (watch, over, stopped) =
            (self.victim.watch().clone(), AtomicBool::new(false), AtomicBool::new(false));
        let result = std::thread::scope(|scope| {
            let poller = scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    if flag.load(Ordering::Relaxed) && !stopped.swap(true, Ordering::Relaxed) {
                        watch.stop();
                    }
                    std::thread::park_timeout(Duration::from_millis(20));
                }
            });
            // Also if the work panics, so that the scope ends.
            let _end = End { over: &over, poller: poller.thread().clone() };
            work()
        });
        if stopped.into_inner() {
            self.victim.watch().resume();
        }
        result
    }
}

struct End<'s> {
    over: &'s AtomicBool,
    poller: std::thread::Thread,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.poller.unpark();
    }
}

fn hash(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, |state, value| split_mix(state ^ value))
}

impl std::fmt::Debug for Evaluation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluation")
            .field("victim", &self.victim)
            .field("attacks", &self.attacks)
            .field("epsilons", &self.epsilons)
            .field("norm_epsilons", &self.norm_epsilons)
            .field("only_survivors", &self.only_survivors)
            .field("batch_size", &self.batch_size)
            .finish_non_exhaustive()
    }
}
