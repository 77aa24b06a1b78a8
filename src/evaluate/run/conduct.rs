//! How a run goes about its work: in batches, resumable, with progress, until it is cancelled.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;
use web_time::Instant;

use super::journal::Journal;
use super::loaded::{classifier_identity, features_identity};
use super::pace::Paces;
use super::shard::Shard;
use crate::attack::AttackError;
use crate::classifier::{Frozen, FrozenFeatures, Watch};
use crate::data::LabeledImages;
use crate::evaluate::EvaluationError;
use crate::parameter::Parameter;

/// How often the cancel flag is looked at while attacks run.
const POLL: Duration = Duration::from_millis(20);

/// Progress of a run, in image passes: one for every image without attack, and one for every image with every
/// budget of every attack, attacked or not; an attack that looks for the smallest perturbation without a
/// limit passes once. Of a certification every draw is a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Passes done.
    pub done: usize,
    /// Passes of the whole run.
    pub total: usize,
    /// Time left, once some work was done: every attack with its own pace, as one may cost a thousand times
    /// what another does.
    pub left: Option<Duration>,
}

/// How a run goes about its work, as [`Run`] sets it.
pub struct Conduct<'a> {
    batch_size: usize,
    state: Option<PathBuf>,
    fingerprint: Option<String>,
    on_progress: Option<Box<dyn Fn(Progress) + 'a>>,
    cancel: Option<&'a AtomicBool>,
}

impl Default for Conduct<'_> {
    fn default() -> Self {
        Self { batch_size: 16, state: None, fingerprint: None, on_progress: None, cancel: None }
    }
}

/// What every run over a data set can be told about its work; nothing of it changes results.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | batch size | 16 | at least 1 |
pub trait Run<'a>: Sized {
    /// What the run was told.
    fn conduct(&mut self) -> &mut Conduct<'a>;

    /// Images that are loaded and attacked at a time.
    fn batch_size(mut self, images: usize) -> Self {
        self.conduct().batch_size = images;
        self
    }

    /// Keeps what is finished in this folder and goes on with it, so that a kill costs one step: one attack
    /// with one budget on one batch. A folder of other attacks, budgets, images, another classifier or an
    /// earlier version is refused, and so are one in which another run is at work
    /// ([`FolderLock`](crate::file::FolderLock)) and one with a file that was changed since it was written.
    /// The folder can be deleted once the result is there. A run over everything takes in what
    /// [shards](Shard) have finished there.
    fn resume_from(mut self, folder: impl Into<PathBuf>) -> Self {
        self.conduct().state = Some(folder.into());
        self
    }

    /// What tells the classifier from others in [`resume_from`](Self::resume_from), such as a checkpoint's
    /// hash; without it, its logits for the first four images do, which a classifier with random answers
    /// never repeats, nor does a processor with other instructions.
    fn fingerprint(mut self, fingerprint: impl Into<String>) -> Self {
        self.conduct().fingerprint = Some(fingerprint.into());
        self
    }

    /// Calls back after every step.
    fn on_progress(mut self, callback: impl Fn(Progress) + 'a) -> Self {
        self.conduct().on_progress = Some(Box::new(callback));
        self
    }

    /// Stops between two steps, and within an attack, once the flag is set.
    fn cancel_with(mut self, flag: &'a AtomicBool) -> Self {
        self.conduct().cancel = Some(flag);
        self
    }
}

impl Conduct<'_> {
    pub(crate) fn parameter(&self) -> Parameter {
        Parameter::at_least("batch size", self.batch_size, 1)
    }

    /// A shard's work is worth nothing unless it is kept.
    pub(crate) fn state_parameter(&self) -> Parameter {
        Parameter::new("resume_from", "a folder for the work of shards", self.state.is_some(), "none")
    }

    /// How many of so many images are of this shard, if it is one.
    pub(crate) fn images(&self, shard: Option<Shard>, all: usize) -> usize {
        shard.map_or(all, |shard| shard.images(all, self.batch_size))
    }

    /// What is finished of a run with the same settings, in the order in which a difference is told.
    pub(crate) fn journal(
        &self,
        shard: Option<Shard>,
        settings: impl FnOnce() -> Result<Vec<(&'static str, Value)>, EvaluationError>,
    ) -> Result<Journal, EvaluationError> {
        match &self.state {
            Some(folder) => Journal::open(folder, shard, self.batch_size, settings()?),
            None => Ok(Journal::default()),
        }
    }

    /// What tells a classifier from others.
    pub(crate) fn identity(
        &self,
        victim: &Frozen,
        data: &dyn LabeledImages,
    ) -> Result<String, EvaluationError> {
        self.fingerprint.clone().map_or_else(|| classifier_identity(victim, data), Ok)
    }

    /// What tells the features from others: whoever vouches for the classifier does for its features.
    pub(crate) fn features_identity(
        &self,
        features: &FrozenFeatures,
        data: &dyn LabeledImages,
    ) -> Result<String, EvaluationError> {
        self.fingerprint.clone().map_or_else(|| features_identity(features, data), Ok)
    }

    /// Does the work; meanwhile the cancel flag stops the attacks on these classifiers, too.
    pub(crate) fn watched<'f, T>(
        &self,
        victims: impl IntoIterator<Item = &'f Frozen>,
        work: impl FnOnce() -> Result<T, EvaluationError>,
    ) -> Result<T, EvaluationError> {
        let Some(flag) = self.cancel else { return work() };
        // No threads: the flag is looked at between batches alone.
        if cfg!(target_family = "wasm") {
            return work();
        }
        let watches: Vec<Watch> = victims.into_iter().map(|victim| victim.watch().clone()).collect();
        std::thread::scope(|scope| {
            // Dropped when the work ends, also by a panic: then the poller ends, and the scope with it.
            let (_working, ended) = channel::<()>();
            scope.spawn(move || {
                let mut stopped = false;
                while ended.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
                    if !stopped && flag.load(Ordering::Relaxed) {
                        stopped = true;
                        watches.iter().for_each(Watch::stop);
                    }
                }
                if stopped {
                    watches.iter().for_each(Watch::resume);
                }
            });
            work()
        })
    }
}

impl std::fmt::Debug for Conduct<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conduct").field("batch_size", &self.batch_size).finish_non_exhaustive()
    }
}

/// The passes of one run.
pub(crate) struct Passes<'e, 'a> {
    conduct: &'e Conduct<'a>,
    shard: Option<Shard>,
    done: Cell<usize>,
    total: Cell<usize>,
    paces: RefCell<Paces>,
    /// When the last passes were done.
    last: Cell<Instant>,
}

impl<'e, 'a> Passes<'e, 'a> {
    pub(crate) fn new(conduct: &'e Conduct<'a>, shard: Option<Shard>, total: usize) -> Self {
        Self {
            conduct,
            shard,
            done: Cell::new(0),
            total: Cell::new(total),
            paces: RefCell::default(),
            last: Cell::new(Instant::now()),
        }
    }

    /// Announces how many of the passes are of this kind, and how much one costs, in any unit.
    pub(crate) fn expect(&self, kind: &str, passes: usize, cost: f64) {
        self.paces.borrow_mut().expect(kind, passes, cost);
    }

    /// These positions, batch by batch; of a shard its own batches.
    pub(crate) fn batches<'p>(&self, positions: &'p [usize]) -> impl Iterator<Item = &'p [usize]> + use<'p> {
        let shard = self.shard;
        let batches = positions.chunks(self.conduct.batch_size).enumerate();
        batches.filter(move |(batch, _)| shard.is_none_or(|shard| shard.has(*batch))).map(|(_, chunk)| chunk)
    }

    /// The same of passes that come on top.
    pub(crate) fn expect_more(&self, kind: &str, passes: usize, cost: f64) {
        self.total.set(self.total.get() + passes);
        self.expect(kind, passes, cost);
    }

    /// Passes of this kind that are done; those that are not `fresh` were all known from an earlier run.
    pub(crate) fn add(&self, kind: &str, passes: usize, fresh: bool) {
        let seconds = self.last.replace(Instant::now()).elapsed().as_secs_f64();
        let mut paces = self.paces.borrow_mut();
        paces.done(kind, passes, fresh.then_some(seconds));
        self.done.set(self.done.get() + passes);
        if let Some(callback) = &self.conduct.on_progress {
            let left = paces.left().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            drop(paces);
            callback(Progress { done: self.done.get(), total: self.total.get(), left });
        }
    }

    /// Fails once the cancel flag is set.
    pub(crate) fn go_on(&self) -> Result<(), EvaluationError> {
        match self.conduct.cancel {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(self.cancelled()),
            _ => Ok(()),
        }
    }

    /// Why this attack ended: stopped, as the cancel flag was set, or refused.
    pub(crate) fn ended(&self, attack: &str, error: AttackError) -> EvaluationError {
        match error {
            AttackError::Stopped => self.cancelled(),
            source => EvaluationError::Attack { attack: attack.into(), source },
        }
    }

    fn cancelled(&self) -> EvaluationError {
        EvaluationError::Cancelled { done: self.done.get(), total: self.total.get() }
    }
}
