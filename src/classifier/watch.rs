//! A handle on work in progress: queries counted, steps reported, a stop asked for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Images that went through a classifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queries {
    /// Forward passes without gradient, in images.
    pub forwards: u64,
    /// Forward and backward passes, in images.
    pub gradients: u64,
}

impl Queries {
    /// None at all.
    pub const NONE: Self = Self { forwards: 0, gradients: 0 };

    /// So many forward passes without gradient.
    pub const fn forwards(images: usize) -> Self {
        Self { forwards: images as u64, gradients: 0 }
    }

    /// So many forward and backward passes.
    pub const fn gradients(images: usize) -> Self {
        Self { forwards: 0, gradients: images as u64 }
    }
}

impl std::ops::Sub for Queries {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { forwards: self.forwards - earlier.forwards, gradients: self.gradients - earlier.gradients }
    }
}

impl std::ops::Add for Queries {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { forwards: self.forwards + other.forwards, gradients: self.gradients + other.gradients }
    }
}

/// One step of an attack on one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The attack's name.
    pub attack: String,
    /// Steps done on this batch.
    pub done: usize,
    /// Steps that the attack takes at most; 0 if nothing bounds them.
    pub total: usize,
}

type OnStep = Box<dyn Fn(Step) + Send>;
type OnQuery = Box<dyn Fn(&Tensor<4>, &Tensor<2>) + Send>;

/// Counts a [`Frozen`](super::Frozen) classifier's queries, reports an attack's steps and stops it, from any
/// thread; clones share one state.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| x.mean_dims(&[2, 3]).reshape([-1, 2]));
/// let watch = victim.watch().clone();
/// victim.logits(Tensor::zeros([5, 2, 4, 4], &device));
/// assert_eq!(watch.queries().forwards, 5);
///
/// watch.stop();
/// let attack = Fgsm::new(Budget::pixels(8.0));
/// let stopped = attack.perturb(&victim, Tensor::zeros([1, 2, 4, 4], &device), &Goal::untargeted([0]));
/// assert_eq!(stopped.unwrap_err(), AttackError::Stopped);
/// ```
#[derive(Clone, Default)]
pub struct Watch(Arc<State>);

#[derive(Default)]
struct State {
    forwards: AtomicU64,
    gradients: AtomicU64,
    stopped: AtomicBool,
    on_step: Mutex<Option<OnStep>>,
    on_query: Mutex<Option<OnQuery>>,
}

impl Watch {
    /// Images that went through the classifier so far.
    pub fn queries(&self) -> Queries {
        Queries {
            forwards: self.0.forwards.load(Ordering::Relaxed),
            gradients: self.0.gradients.load(Ordering::Relaxed),
        }
    }

    /// Asks the attack that runs, and every later one, to stop before its next step.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// Lets attacks run again after [`stop`](Self::stop).
    pub fn resume(&self) {
        self.0.stopped.store(false, Ordering::Relaxed);
    }

    /// Whether a stop was asked for.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }

    /// Calls back before every step of an attack, in place of an earlier callback. It must not set another.
    pub fn on_step(&self, callback: impl Fn(Step) + Send + 'static) {
        *self.0.on_step.lock().expect("no panic in a callback") = Some(Box::new(callback));
    }

    pub(crate) fn report(&self, step: Step) {
        if let Some(callback) = &*self.0.on_step.lock().expect("no panic in a callback") {
            callback(step);
        }
    }

    /// Does the work and meanwhile calls back with the images and the logits of every query, outside autodiff. The callback
    /// must not ask the classifier.
    pub(crate) fn listening<T>(
        &self,
        callback: impl Fn(&Tensor<4>, &Tensor<2>) + Send + 'static,
        work: impl FnOnce() -> T,
    ) -> T {
        let listen = |callback| *self.0.on_query.lock().expect("no panic in a callback") = callback;
        listen(Some(Box::new(callback) as OnQuery));
        let done = work();
        listen(None);
        done
    }

    /// Whether anybody listens.
    pub(super) fn is_heard(&self) -> bool {
        self.0.on_query.lock().expect("no panic in a callback").is_some()
    }

    /// Tells of a query, if anybody listens.
    pub(super) fn tell(&self, images: &Tensor<4>, logits: &Tensor<2>) {
        if let Some(callback) = &*self.0.on_query.lock().expect("no panic in a callback") {
            callback(&images.clone().inner(), &logits.clone().inner());
        }
    }

    /// Counts queries that another watch has counted.
    pub(crate) fn add(&self, queries: Queries) {
        self.0.forwards.fetch_add(queries.forwards, Ordering::Relaxed);
        self.0.gradients.fetch_add(queries.gradients, Ordering::Relaxed);
    }

    pub(super) fn count_forward(&self, images: usize) {
        self.0.forwards.fetch_add(images as u64, Ordering::Relaxed);
    }

    pub(super) fn count_gradient(&self, images: usize) {
        self.0.gradients.fetch_add(images as u64, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("queries", &self.queries())
            .field("stopped", &self.is_stopped())
            .finish()
    }
}
