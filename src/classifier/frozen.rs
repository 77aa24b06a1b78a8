//! A network in evaluation mode, by type: the only thing that attacks take.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{Classifier, Watch, predictions};

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
/// Fgsm::new(Epsilon::pixels(8.0)).perturb(&training, images, &Goal::untargeted(vec![1]));
/// ```
pub struct Frozen {
    network: Box<dyn Classifier>,
    device: Device,
    classes: usize,
    watch: Watch,
}

impl Frozen {
    /// Freezes a burn module: its evaluation-mode copy without autodiff on the weights.
    ///
    /// # Panics
    ///
    /// Panics if the module has no parameter; use [`from_fn`](Self::from_fn) for such a classifier.
    pub fn new<C: Classifier + Module + 'static>(model: C) -> Self {
        let device = model.devices().first().expect("a module with at least one parameter").clone().inner();
        let network = model.valid();
        let classes = network.num_classes();
        Self { network: Box::new(network), device, classes, watch: Watch::default() }
    }

    /// Wraps a closure from images `[batch, channels, height, width]` to logits `[batch, classes]`.
    ///
    /// The closure must be a pure function in evaluation mode: this constructor cannot check it.
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
        logits: impl Fn(Tensor<4>) -> Tensor<2> + 'static,
    ) -> Self {
        let network = Box::new(Function { logits, classes });
        Self { network, device: device.clone().inner(), classes, watch: Watch::default() }
    }

    /// Class scores, outside autodiff.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`, values in \[0,1\]
    /// - output: `[batch, classes]`
    pub fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.watch.count_forward(images.dims()[0]);
        self.network.logits(images.inner())
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

    /// The handle that counts queries, reports progress and stops attacks, from any thread.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Logits and the gradient of the summed `loss` with respect to the images.
    ///
    /// `loss` maps logits `[batch, classes]` to one value an image `[batch]`. The values are summed, not
    /// averaged, so an image's gradient does not depend on its neighbours.
    ///
    /// # Shapes
    ///
    /// - `images`, gradient: `[batch, channels, height, width]`
    /// - logits: `[batch, classes]`
    pub fn input_gradient(
        &self,
        images: Tensor<4>,
        loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> InputGradient {
        self.watch.count_gradient(images.dims()[0]);
        let images = images.inner().autodiff().require_grad();
        let logits = self.network.logits(images.clone());
        let total = loss(logits.clone()).sum();
        // A loss that does not depend on the images has no graph: its gradient is zero.
        let gradient = match total.is_tracked() {
            true => images.grad_remove(&mut total.backward()),
            false => None,
        };
        let images = images.inner();
        InputGradient { logits: logits.inner(), gradient: gradient.unwrap_or_else(|| images.zeros_like()) }
    }
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

struct Function<F> {
    logits: F,
    classes: usize,
}

impl<F: Fn(Tensor<4>) -> Tensor<2>> Classifier for Function<F> {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        (self.logits)(images)
    }

    fn num_classes(&self) -> usize {
        self.classes
    }
}
