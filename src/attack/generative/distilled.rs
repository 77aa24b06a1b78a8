//! A copy of a black box, learned from its answers.

use std::path::Path;

use burn::config::Config;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, softmax};
use serde::{Deserialize, Serialize};

use super::fits::same_shape;
use super::named_adam::NamedAdam;
use super::numbers::{filled, numbers, path_name};
use super::stored_checks::check_sum;
use super::target::Target;
use crate::attack::lessons::{Lessons, same_lessons};
use crate::attack::prelude::*;
use crate::attack::stored::{Numbers, Stored, StoredError, sha256_of_parts};
use crate::attack::{Goal, Origin};
use crate::classifier::{Classifier, Frozen};
use crate::parameter;
use crate::random::Purpose;

const ORDER: Purpose = Purpose::named("the order of images that a copy of a black box is learned from");
const KIND: &str = "copy of a black box";
const WEIGHTS: &str = "copy.";
const ADAM: &str = "copy_adam.";

/// How a copy of a black box is learned before a generator is: static distillation, Hinton, Vinyals & Dean,
/// "Distilling the Knowledge in a Neural Network", 2015, at temperature 1.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | epochs | 10 | at least 1 |
/// | batch size | 128 | at least 1 |
/// | learning rate | 0.001, of Adam, also while the generator learns | a finite number above 0 |
/// | seed | 0 | any |
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Distillation {
    /// Passes over the images.
    #[config(default = 10)]
    pub epochs: usize,
    /// Images of a step.
    #[config(default = 128)]
    pub batch_size: usize,
    /// Adam's.
    #[config(default = 0.001)]
    pub learning_rate: f64,
    /// The order of the images comes from it.
    #[config(default = 0)]
    pub seed: u64,
}

/// A network of one's own that learns to answer as a black box does, whose class probabilities alone are
/// asked for.
///
/// Xiao et al., IJCAI 2018, section 3.4: the copy lowers the cross-entropy between its answers and the black
/// box's. After [epochs of its own](Self::pass) on the images, it goes on to learn from them and from what
/// the generator makes of them ([`AdvGan::pass_black_box`](super::AdvGan::pass_black_box)). Every image of an
/// epoch is one query, with the generator two; the victim's [watch](Frozen::watch) counts them.
#[derive(Clone, Debug)]
pub struct DistilledCopy<N> {
    network: N,
    settings: Distillation,
    pub(super) state: CopyState,
}

/// What a copy has learned.
#[derive(Clone, Debug)]
pub(super) struct CopyState {
    origin: Origin,
    shape: [usize; 3],
    pub(super) weights: Numbers,
    pub(super) moments: Numbers,
    pub(super) steps: usize,
}

#[derive(Serialize, Deserialize)]
struct About {
    origin: Origin,
    shape: [usize; 3],
    steps: usize,
    sha256: String,
}

impl CopyState {
    fn parts(&self) -> [(&'static str, &Numbers); 2] {
        [(WEIGHTS, &self.weights), (ADAM, &self.moments)]
    }

    fn digest(&self) -> String {
        sha256_of_parts(&self.parts())
    }
}

impl<N: Classifier + Module> DistilledCopy<N> {
    const NAME: &str = "Distillation";

    /// This network with its initial weights, for images of these channels, height and width.
    ///
    /// # Errors
    ///
    /// [`AttackError`] on a setting out of its range, or images that the network refuses.
    pub fn new(network: N, settings: Distillation, shape: [usize; 3]) -> Result<Self, AttackError> {
        parameter::check([
            Parameter::at_least("epochs", settings.epochs, 1),
            Parameter::at_least("batch size", settings.batch_size, 1),
            Parameter::above_zero("learning rate", settings.learning_rate),
        ])?;
        let [channels, height, width] = shape;
        if let Some(expected) = network.refuses(channels, height, width) {
            let found = format!("{channels} channels and {height}x{width} pixels");
            Parameter::new("images of the copy", expected, false, found).check()?;
        }
        let network = network.valid();
        let state = CopyState {
            origin: Origin::new(Self::NAME, settings.settings()),
            shape,
            weights: numbers(&network, path_name),
            moments: Numbers::new(),
            steps: 0,
        };
        Ok(Self { network, settings, state })
    }

    /// How it came about, and how many epochs it has behind it.
    pub fn origin(&self) -> &Origin {
        &self.state.origin
    }

    /// The copy as it is now, in evaluation mode outside autodiff.
    pub fn network(&self) -> N {
        filled(self.network.valid(), &self.state.weights, path_name).expect("its own weights")
    }

    /// One more epoch over the images, or nothing if all are done; whether any is left then. `images` is as
    /// for [`AdvGan::pass`](super::AdvGan::pass); its goals do not count.
    ///
    /// # Errors
    ///
    /// What `images` fails with, and [`AttackError`]: another number of images, one that does not fit, a loss
    /// that is not finite, or [`AttackError::Stopped`], at which the copy stays as it was before the epoch.
    pub fn pass<E: From<AttackError>>(
        &mut self,
        victim: &Frozen,
        count: usize,
        images: impl FnMut(&[usize]) -> Result<(Tensor<4>, Goal), E>,
    ) -> Result<bool, E> {
        let own = Origin::new(Self::NAME, self.settings.settings());
        same_lessons(victim, ("copy", &self.state.origin, self.state.shape), &own, count)?;
        self.same_classes(victim)?;
        let (epoch, Distillation { epochs, batch_size, seed, .. }) =
            (self.state.origin.passes, self.settings);
        if epoch == epochs {
            return Ok(false);
        }
        let mut lessons = Lessons { victim, count, images };
        let (order, batches) = (lessons.order(ORDER, seed, epoch), count.div_ceil(batch_size));
        let mut learning = self.learning(victim)?;
        for (number, positions) in order.chunks(batch_size).enumerate() {
            lessons.step(Self::NAME, epoch * batches + number, epochs * batches)?;
            let (images, goal) = lessons.at(positions)?;
            let queries = Queries::forwards(1);
            let profile = Profile::smallest(Self::NAME, (Norm::Linf, None), Access::Logits, 1, queries);
            let task = Task::new(victim, images, &goal, profile)?;
            parameter::check([same_shape(self.state.shape, task.shape())]).map_err(AttackError::from)?;
            learning.step(&[task.images()])?;
        }
        let (steps, moments) = learning.adam.moments();
        let weights = numbers(learning.network(), path_name);
        let finished = epoch + 1 == epochs;
        let origin = Origin { passes: epoch + 1, images: count, finished, ..self.state.origin.clone() };
        self.state = CopyState { origin, weights, moments, steps, ..self.state.clone() };
        Ok(!finished)
    }

    /// The share of these images to which the copy gives the victim's answer: one query each.
    pub fn agreement(&self, victim: &Frozen, images: Tensor<4>) -> f64 {
        let network = self.network();
        let own = crate::classifier::predictions(network.logits(images.clone().inner()));
        let theirs = victim.predict(images);
        let same = own.iter().zip(&theirs).filter(|(own, theirs)| own == theirs).count();
        same as f64 / own.len().max(1) as f64
    }

    fn same_classes(&self, victim: &Frozen) -> Result<(), AttackError> {
        let (expected, found) = (victim.num_classes(), self.network.num_classes());
        let range = format!("{expected}, as the victim's");
        Ok(Parameter::new("classes of the copy", range, expected == found, found).check()?)
    }

    /// The copy as a target that learns on.
    pub(super) fn learning<'a>(&self, victim: &'a Frozen) -> Result<Learning<'a, N>, AttackError> {
        self.same_classes(victim)?;
        let tracked = victim.device().clone().autodiff();
        let network = self.network().train().fork(&tracked);
        let adam = NamedAdam::after(self.state.steps, &self.state.moments, victim.device());
        Ok(Learning { victim, network: Some(network), adam, rate: self.settings.learning_rate })
    }

    /// The same with this state of a training.
    pub(super) fn restore(
        &mut self,
        weights: &Numbers,
        moments: &Numbers,
        steps: usize,
    ) -> Result<(), AttackError> {
        if let Err((expected, found)) = filled(self.network.valid(), weights, path_name) {
            Parameter::new("copy in the training", expected, false, found).check()?;
        }
        let (weights, moments) = (weights.clone(), moments.clone());
        self.state = CopyState { weights, moments, steps, ..self.state.clone() };
        Ok(())
    }

    /// What decides on how it learns.
    pub(super) fn settings(&self) -> serde_json::Value {
        self.settings.settings()
    }

    /// Writes it as safetensors; the file is complete or absent at any moment.
    ///
    /// # Errors
    ///
    /// [`StoredError`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), StoredError> {
        let CopyState { origin, shape, steps, .. } = self.state.clone();
        let mut stored = Stored::new(KIND, &About { origin, shape, steps, sha256: self.state.digest() });
        for (prefix, numbers) in self.state.parts() {
            stored.add_all(prefix, numbers);
        }
        stored.write(path.as_ref())
    }

    /// This copy with what [`save`](Self::save) wrote of one with the same network and settings.
    ///
    /// # Errors
    ///
    /// [`StoredError`] on a file that cannot be read, is of another kind, is damaged, or is of another
    /// network, other settings or other images.
    pub fn load(self, path: impl AsRef<Path>) -> Result<Self, StoredError> {
        let path = path.as_ref();
        let stored = Stored::read(path, KIND)?;
        let wrong = |expected: &str, found: &str| StoredError::format(path, expected, found);
        let About { origin, shape, steps, sha256: sum } = stored.about(path)?;
        let (weights, moments) = (stored.all(WEIGHTS), stored.all(ADAM));
        let state = CopyState { origin, shape, weights, moments, steps };
        let said = |state: &CopyState| {
            format!("a copy with settings {} of images {:?}", state.origin.settings, state.shape)
        };
        if said(&state) != said(&self.state) {
            return Err(wrong(&said(&self.state), &said(&state)));
        }
        filled(self.network.valid(), &state.weights, path_name)
            .map_err(|(expected, found)| wrong(&expected, &found))?;
        check_sum(path, "tensors", &sum, &state.digest())?;
        Ok(Self { state, ..self })
    }
}

/// A copy in training.
pub(super) struct Learning<'a, N> {
    victim: &'a Frozen,
    /// There but for the moment of a step.
    network: Option<N>,
    pub(super) adam: NamedAdam,
    rate: f64,
}

impl<N: Classifier + Module> Learning<'_, N> {
    pub(super) fn network(&self) -> &N {
        self.network.as_ref().expect("no step at work")
    }

    /// The loss on these batches and its gradients: each is asked for once.
    pub(super) fn loss(&self, batches: &[Tensor<4>]) -> (f64, GradientsParams) {
        let network = self.network();
        let loss = |images: &Tensor<4>| {
            let answers = softmax(self.victim.logits(images.clone()), 1);
            cross_entropy(network.logits(images.clone().autodiff()), answers.autodiff())
        };
        let total = batches.iter().map(loss).reduce(|sum, loss| sum + loss).expect("one batch at least");
        let value = f64::from(total.clone().inner().into_scalar::<f32>());
        (value, GradientsParams::from_grads(total.backward(), network))
    }

    fn step(&mut self, batches: &[Tensor<4>]) -> Result<(), AttackError> {
        let (loss, gradients) = self.loss(batches);
        if !loss.is_finite() {
            return Err(AttackError::Other(format!("loss of the copy: expected a finite one, found {loss}")));
        }
        let network = self.network.take().expect("no step at work");
        self.network = Some(self.adam.step(self.rate, network, gradients));
        Ok(())
    }
}

impl<N: Classifier + Module> Target for Learning<'_, N> {
    fn learn(&mut self, images: &Tensor<4>, adversarial: &Tensor<4>) -> Result<(), AttackError> {
        self.step(&[images.clone(), adversarial.clone()])
    }

    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.network().valid().logits(images)
    }
}

/// Between logits and probabilities `[batch, classes]`, a mean over the batch.
fn cross_entropy(logits: Tensor<2>, answers: Tensor<2>) -> Tensor<1> {
    (log_softmax(logits, 1) * answers).sum_dim(1).mean().neg()
}
