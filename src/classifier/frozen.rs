//! A network in evaluation mode, by type: the only thing that attacks take.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::average::{Average, Averaged};
use super::shared::Shared;
use super::wrappers::{Behind, Change, Function, Wrapped};
use super::{Classifier, ClassifierError, Watch, predictions};

/// A classifier in evaluation mode: batch norm uses running statistics, dropout is off, and nothing in it
/// can change. Attacks take nothing else.
///
/// ```compile_fail
/// use histoguard::prelude::*;
///
/// let device = Device::default().autodiff();
/// let training = DenseNetConfig::densenet121(2).init(&device);
/// let images = Tensor::<4>::zeros([1, 3, 64, 64], &device);
/// // A model that is not frozen cannot be attacked: this does not compile.
/// Fgsm::new(Budget::pixels(8.0)).perturb(&training, images, &Goal::untargeted(vec![1]));
/// ```
pub struct Frozen {
    network: Averaged,
    /// Passes that each image takes through a network at every query.
    passes: usize,
    device: Device,
    classes: usize,
    watch: Watch,
    /// Channels, height and width of the images of which an answer had the right shape.
    answered: Arc<Mutex<Option<[usize; 3]>>>,
}

impl Frozen {
    /// Freezes a burn module: its evaluation-mode copy without autodiff on the weights.
    ///
    /// # Panics
    ///
    /// Panics if the module has no parameter; use [`from_fn`](Self::from_fn) for such a classifier.
    pub fn new<C: Classifier + Module + Sync + 'static>(model: C) -> Self {
        let device = model.devices().first().expect("a module with at least one parameter").clone().inner();
        let mut copy = model.valid();
        copy.seal();
        Self::of(Averaged::one(copy), 1, device)
    }

    /// Wraps a closure from images `[batch, channels, height, width]` to logits `[batch, classes]`.
    ///
    /// The closure must be a pure function in evaluation mode: this constructor cannot check it. The
    /// exception is a randomised defense, which belongs into [`expectation_over`](Self::expectation_over).
    ///
    /// ```
    /// use histoguard::prelude::*;
    ///
    /// let device = Device::default();
    /// // Two classes by mean brightness.
    /// let victim = Frozen::from_fn(2, &device, |images| {
    ///     let bright = images.mean_dims(&[1, 2, 3]).reshape([-1, 1]);
    ///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
    /// });
    /// assert_eq!(victim.logits(Tensor::ones([4, 3, 8, 8], &device)).dims(), [4, 2]);
    /// ```
    pub fn from_fn(
        classes: usize,
        device: &Device,
        logits: impl Fn(Tensor<4>) -> Tensor<2> + Send + Sync + 'static,
    ) -> Self {
        Self::of(Averaged::one(Function { logits, classes }), 1, device.clone().inner())
    }

    /// Several classifiers as one: the mean of their logits, probabilities or losses.
    ///
    /// A query counts as one pass through every member, on the watch of the whole alone. A member that
    /// averages losses itself counts by its logits.
    ///
    /// ```
    /// use histoguard::classifier::Average;
    /// use histoguard::prelude::*;
    ///
    /// let device = Device::default();
    /// let constant = |a: f32, b: f32| {
    ///     Frozen::from_fn(2, &Device::default(), move |x| {
    ///         Tensor::<2>::from_floats([[a, b]], &x.device()).repeat_dim(0, x.dims()[0])
    ///     })
    /// };
    /// let ensemble = Frozen::averaged([constant(0.0, 3.0), constant(1.0, -2.0)], Average::Logits);
    /// let logits = ensemble.logits(Tensor::zeros([1, 3, 4, 4], &device));
    /// assert_eq!(logits.into_data().try_into_vec::<f32>().unwrap(), [0.5, 0.5]);
    /// assert_eq!(ensemble.watch().queries().forwards, 2);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if there is no member, or if members differ in their number of classes or their device.
    pub fn averaged(members: impl IntoIterator<Item = Self>, average: Average) -> Self {
        let members: Vec<Self> = members.into_iter().collect();
        let first = members.first().expect("at least one member");
        let (classes, device) = (first.classes, first.device.clone());
        let alike = members.iter().all(|member| member.classes == classes && member.device == device);
        assert!(alike, "members of one number of classes on one device");
        let passes = members.iter().map(|member| member.passes).sum();
        let members = members.into_iter().map(|member| Shared::new(member.network)).collect();
        Self::of(Averaged { members, draws: 1, average }, passes, device)
    }

    /// The expectation over `draws` calls of a randomised classifier, for every query: what an attack on a
    /// randomised defense must climb (Athalye et al., "Obfuscated Gradients Give a False Sense of Security",
    /// ICML 2018, section 5.3; "Synthesizing Robust Adversarial Examples", ICML 2018).
    ///
    /// A query counts as `draws` passes of the whole batch. Whether the images of a batch share a draw is the
    /// classifier's own affair. One that draws once a call, as below, gives all of them the same draw, and
    /// another one at every call: an image's result then depends on its place among the batches. A random
    /// [`Preprocess`](crate::defense::Preprocess) draws for every image from its values and from how often
    /// that image was asked about before: neighbours change nothing, other queries of the same image do.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// use histoguard::classifier::Average;
    /// use histoguard::prelude::*;
    ///
    /// let device = Device::default();
    /// // Dithered brightness: another threshold at every call.
    /// let calls = AtomicU32::new(0);
    /// let dithered = Frozen::from_fn(2, &device, move |x| {
    ///     let threshold = 0.4 + 0.1 * (calls.fetch_add(1, Ordering::Relaxed) % 3) as f32;
    ///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - threshold;
    ///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
    /// });
    /// let victim = dithered.expectation_over(3, Average::Losses);
    /// let image = Tensor::full([1, 1, 2, 2], 0.55, &device);
    /// let adversarial = Pgd::new(Budget::linf(Epsilon::unit(0.1))).perturb(&victim, image, &Goal::untargeted([1]))?;
    /// assert_eq!(victim.predict(adversarial), [0]);
    /// # Ok::<(), AttackError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if `draws` is zero.
    pub fn expectation_over(self, draws: usize, average: Average) -> Self {
        assert!(draws > 0, "at least one draw");
        let passes = self.passes * draws;
        let network = Averaged { members: vec![Shared::new(self.network)], draws, average };
        Self { network, passes, ..self }
    }

    /// The same classifier behind a change of its images, such as a defense that works on them; it may be
    /// random, and may give images of another size. Gradients go through it as burn differentiates it.
    ///
    /// The change is called once for every pass through a network, so that each draw of an
    /// [expectation](Self::expectation_over) and each member of an ensemble sees its own. Queries count as
    /// before.
    ///
    /// ```
    /// use histoguard::prelude::*;
    ///
    /// let device = Device::default();
    /// let victim = Frozen::from_fn(2, &device, |x| {
    ///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
    ///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
    /// });
    /// let inverted = victim.behind(|images| images.neg() + 1.0);
    /// assert_eq!(inverted.predict(Tensor::full([1, 1, 2, 2], 0.75, &device)), [0]);
    /// assert_eq!(inverted.watch().queries().forwards, 1);
    /// ```
    pub fn behind(self, change: impl Fn(Tensor<4>) -> Tensor<4> + Send + Sync + 'static) -> Self {
        let change: Arc<Change> = Arc::new(change);
        let behind = |network| Shared::new(Behind { change: Arc::clone(&change), network });
        let members = self.network.members.into_iter().map(behind).collect();
        Self { network: Averaged { members, ..self.network }, ..self }
    }

    /// A classifier of the same classes that asks this one: `logits` gets it with the images, asks it at most
    /// `passes` times, and answers in its place. Gradients go through both.
    ///
    /// A query counts as `passes` through this one, on the watch of the whole alone. A classifier that
    /// averages losses counts by its logits.
    ///
    /// ```
    /// use histoguard::prelude::*;
    ///
    /// let device = Device::default();
    /// let base = Frozen::from_fn(2, &device, |x| x.mean_dims(&[2, 3]).reshape([-1, 2]));
    /// // The same behind a defense that darkens every image.
    /// let darkened = base.wrapped(1, |base, images| base.logits(images * 0.5));
    /// let logits = darkened.logits(Tensor::ones([1, 2, 4, 4], &device));
    /// assert_eq!(logits.into_data().try_into_vec::<f32>().unwrap(), [0.5, 0.5]);
    /// ```
    pub fn wrapped(
        self,
        passes: usize,
        logits: impl Fn(&dyn Classifier, Tensor<4>) -> Tensor<2> + Send + Sync + 'static,
    ) -> Self {
        let (passes, wrapper) = (self.passes * passes, Wrapped { base: self.network, logits });
        Self::of(Averaged::one(wrapper), passes, self.device)
    }

    /// Another handle on the same network: it answers alike, and counts, reports and stops on the same
    /// [watch](Self::watch). What is built on it is another view of one victim, as an attack that knows a
    /// defense needs it.
    ///
    /// ```
    /// use histoguard::prelude::*;
    ///
    /// let device = Device::default();
    /// let victim = Frozen::from_fn(2, &device, |x| x.mean_dims(&[2, 3]).reshape([-1, 2]));
    /// let darkened = victim.shared().behind(|images| images * 0.5);
    /// let logits = darkened.logits(Tensor::ones([1, 2, 4, 4], &device));
    /// assert_eq!(logits.into_data().try_into_vec::<f32>().unwrap(), [0.5, 0.5]);
    /// assert_eq!(victim.watch().queries().forwards, 1);
    /// ```
    pub fn shared(&self) -> Self {
        let Self { network, passes, device, classes, watch, answered } = self;
        Self {
            network: network.clone(),
            passes: *passes,
            device: device.clone(),
            classes: *classes,
            watch: watch.clone(),
            answered: answered.clone(),
        }
    }

    /// The same classifier, whose queries count on this watch from now on, and which it stops.
    pub fn watched_by(self, watch: &Watch) -> Self {
        Self { watch: watch.clone(), ..self }
    }

    fn of(network: Averaged, passes: usize, device: Device) -> Self {
        let classes = network.num_classes();
        Self { network, passes, device, classes, watch: Watch::default(), answered: Arc::default() }
    }

    /// Class scores, outside autodiff.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`, values in \[0,1\]
    /// - output: `[batch, classes]`
    pub fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.watch.count_forward(images.dims()[0] * self.passes);
        self.told(images.inner())
    }

    /// Class scores as a part of the caller's graph: of images within autodiff they can be differentiated,
    /// which counts as a query with gradient. For what is built on a classifier: detectors, reformers.
    ///
    /// With [`Average::Losses`] these are the mean logits.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`, values in \[0,1\]
    /// - output: `[batch, classes]`
    pub fn tracked_logits(&self, images: Tensor<4>) -> Tensor<2> {
        let count = images.dims()[0] * self.passes;
        match images.is_tracked() {
            true => self.watch.count_gradient(count),
            false => self.watch.count_forward(count),
        }
        self.told(images)
    }

    fn told(&self, images: Tensor<4>) -> Tensor<2> {
        // Not held otherwise: what is held by nobody else can be worked on in place.
        let heard = self.watch.is_heard().then(|| images.clone());
        let logits = self.network.logits(images);
        heard.inspect(|images| self.watch.tell(images, &logits));
        logits
    }

    /// The class with the highest score of each image; the lower class on a tie.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`
    /// - output: one class an image
    pub fn predict(&self, images: Tensor<4>) -> Vec<usize> {
        predictions(self.logits(images))
    }

    /// The number of classes.
    pub fn num_classes(&self) -> usize {
        self.classes
    }

    /// The device of the weights, without autodiff.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether it can be attacked on images of these channels, height and width: what attacks, evaluations
    /// and certifications ask before they start.
    ///
    /// Once for images of a new shape it is asked about a gray one, which counts as no query, for the shape
    /// of its answer.
    ///
    /// # Errors
    ///
    /// [`ClassifierError`]: fewer than two classes, images that the network
    /// [refuses](Classifier::refuses), an answer that is not one logit a class.
    pub fn check(&self, shape: [usize; 3]) -> Result<(), ClassifierError> {
        self.check_classes()?;
        let [channels, height, width] = shape;
        if shape.contains(&0) || *self.answered() == Some(shape) {
            return Ok(());
        }
        if let Some(expected) = self.network.refuses(channels, height, width) {
            return Err(ClassifierError::Images { expected, found: shape });
        }
        let gray = Tensor::full([1, channels, height, width], 0.5, &self.device);
        let (expected, found) = ([1, self.classes], self.network.logits(gray).dims());
        if found != expected {
            return Err(ClassifierError::Answer { expected, found });
        }
        *self.answered() = Some(shape);
        Ok(())
    }

    fn answered(&self) -> MutexGuard<'_, Option<[usize; 3]>> {
        // Written at once: a panic elsewhere does not spoil it.
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The part of [`check`](Self::check) that needs no images.
    pub(crate) fn check_classes(&self) -> Result<(), ClassifierError> {
        if self.classes < 2 { Err(ClassifierError::Classes { found: self.classes }) } else { Ok(()) }
    }

    /// The handle that counts queries, reports progress and stops attacks, from any thread.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Logits and the gradient of the summed `loss` with respect to the images.
    ///
    /// `loss` maps logits `[batch, classes]` to one value an image `[batch]`. The values are summed, not
    /// averaged, so an image's gradient does not depend on its neighbours. It is called once, with
    /// [`Average::Losses`] once a pass.
    ///
    /// # Shapes
    ///
    /// - `images`, gradient: `[batch, channels, height, width]`
    /// - logits: `[batch, classes]`
    pub fn input_gradient(&self, images: Tensor<4>, loss: impl Fn(Tensor<2>) -> Tensor<1>) -> InputGradient {
        self.watch.count_gradient(images.dims()[0] * self.passes);
        let images = images.inner();
        let heard = self.watch.is_heard().then(|| images.clone());
        let found = self.gradient_of(images, loss);
        heard.inspect(|images| self.watch.tell(images, &found.logits));
        found
    }

    fn gradient_of(&self, images: Tensor<4>, loss: impl Fn(Tensor<2>) -> Tensor<1>) -> InputGradient {
        if self.network.average != Average::Losses {
            return gradient(&self.network, images, &loss);
        }
        let passes: Vec<InputGradient> =
            self.network.passes().map(|network| gradient(network, images.clone(), &loss)).collect();
        let count = passes.len() as f64;
        let (logits, gradients): (Vec<_>, Vec<_>) =
            passes.into_iter().map(|pass| (pass.logits, pass.gradient)).unzip();
        let sum = gradients.into_iter().reduce(|sum, gradient| sum + gradient).expect("at least one pass");
        InputGradient { logits: self.network.mean(logits.into_iter()), gradient: sum / count }
    }
}

fn gradient(
    network: &dyn Classifier,
    images: Tensor<4>,
    loss: &impl Fn(Tensor<2>) -> Tensor<1>,
) -> InputGradient {
    let images = images.autodiff().require_grad();
    let logits = network.logits(images.clone());
    let total = loss(logits.clone()).sum();
    // A loss that does not depend on the images has no graph: its gradient is zero.
    let gradient = match total.is_tracked() {
        true => images.grad_remove(&mut total.backward()),
        false => None,
    };
    let images = images.inner();
    InputGradient { logits: logits.inner(), gradient: gradient.unwrap_or_else(|| images.zeros_like()) }
}

impl std::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frozen").field("classes", &self.classes).field("device", &self.device).finish()
    }
}

/// What [`Frozen::input_gradient`] returns, both outside autodiff.
#[derive(Clone, Debug)]
pub struct InputGradient {
    /// Class scores `[batch, classes]`.
    pub logits: Tensor<2>,
    /// Gradient of the summed loss `[batch, channels, height, width]`.
    pub gradient: Tensor<4>,
}
