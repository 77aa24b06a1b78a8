//! The trait of changes that a defense makes to every image before the classifier sees it.

use std::fmt::Debug;
use std::sync::Mutex;

use burn::tensor::Tensor;
use serde::{Serialize, Serializer};

use super::repeats::Repeats;
use super::{Backward, ImageDraws};
use crate::attack::Settings;
use crate::classifier::Frozen;
use crate::defense::DefenseError;
use crate::parameter::{self, Parameter};

/// A change of every image before the classifier sees it, with the backward pass that an attack which knows
/// the defense takes through it.
///
/// Such a defense alone has not withstood an attack that knows it: Athalye, Carlini & Wagner (ICML 2018)
/// report an accuracy of 0 % for fewer bits, JPEG, total variation, and random resizing and padding.
/// [`before`](Self::before) puts it before a classifier, so that every gradient attack is one that knows it
/// (BPDA, see [`Backward`]); for a random one, [`Frozen::expectation_over`] its draws is the rest of that
/// attack (EOT). [`attack_views`](super::attack_views) lines up the attacks that belong side by side.
///
/// ```
/// use histoguard::defense::{Backward, ImageDraws, Preprocess};
/// use histoguard::parameter::Parameter;
/// use histoguard::prelude::*;
/// use serde::Serialize;
///
/// /// Black below a threshold, white above.
/// #[derive(Debug, Serialize)]
/// struct Binary {
///     threshold: f64,
/// }
///
/// impl Preprocess for Binary {
///     fn name(&self) -> String {
///         "Binary".into()
///     }
///
///     fn parameters(&self) -> Vec<Parameter> {
///         vec![Parameter::within("threshold", self.threshold, 0.0..=1.0)]
///     }
///
///     fn is_random(&self) -> bool {
///         false
///     }
///
///     fn apply(&self, images: Tensor<4>, _: &ImageDraws) -> Tensor<4> {
///         images.greater_elem(self.threshold).float()
///     }
///
///     fn backward(&self) -> Backward {
///         Backward::Identity
///     }
/// }
///
/// let device = Device::default();
/// let brightness = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let defended = Binary { threshold: 0.5 }.before(brightness)?;
/// let image = Tensor::full([1, 1, 2, 2], 0.55, &device);
/// let attack = Pgd::new(Budget::linf(Epsilon::unit(0.1)));
/// let adversarial = attack.perturb(&defended, image, &Goal::untargeted([1])).unwrap();
/// assert_eq!(defended.predict(adversarial), [0]);
/// # Ok::<(), histoguard::defense::DefenseError>(())
/// ```
pub trait Preprocess: Settings + Debug + Send + Sync {
    /// The name in reports.
    fn name(&self) -> String;

    /// The parameters beside their documented ranges.
    fn parameters(&self) -> Vec<Parameter>;

    /// Whether [`apply`](Self::apply) draws random numbers; the draws of the others have no generators.
    fn is_random(&self) -> bool;

    /// The real thing. An image's result depends on that image and its draws alone.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`, values in \[0,1\]; on an autodiff device only if the
    ///   backward pass is exact
    /// - output: `[batch, channels, height, width]`, of another height and width if need be
    ///
    /// # Panics
    ///
    /// May panic on images of a shape that the preprocessing does not take, as its documentation says.
    fn apply(&self, images: Tensor<4>, draws: &ImageDraws) -> Tensor<4>;

    /// The backward pass that it declares.
    fn backward(&self) -> Backward;

    /// The values of [`apply`](Self::apply) with the gradient of [`backward`](Self::backward). An image with
    /// a value that is not finite becomes NaN as a whole.
    ///
    /// # Shapes
    ///
    /// - as [`apply`](Self::apply), on any device
    ///
    /// # Panics
    ///
    /// Panics if the declared backward has another output shape, or as [`apply`](Self::apply) does.
    fn forward(&self, images: Tensor<4>, draws: &ImageDraws) -> Tensor<4> {
        self.backward().pass(images, draws, |images| self.apply(images, draws))
    }

    /// The classifier behind this preprocessing; to put several before it, use a [`Chain`](super::Chain).
    ///
    /// A random preprocessing draws from its seed, the image's values and how often this image was asked
    /// about before: every question draws anew, whatever else is in the batch. That count is kept for at
    /// least the last 1,048,576 different images (at most about 80 MB); an image that was asked about before
    /// those counts as new.
    ///
    /// # Errors
    ///
    /// [`DefenseError::Parameter`] on a parameter out of its range.
    fn before(self, victim: Frozen) -> Result<Frozen, DefenseError>
    where
        Self: Sized + 'static,
    {
        parameter::check(self.parameters())?;
        let repeats = Mutex::new(Repeats::default());
        Ok(victim.behind(move |images| {
            let draws =
                if self.is_random() { ImageDraws::after(&repeats, &images) } else { ImageDraws::default() };
            self.forward(images, &draws)
        }))
    }
}

/// Name and settings: what tells a preprocessing from others.
impl Serialize for dyn Preprocess + '_ {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        serde_json::json!({ "preprocessing": self.name(), "settings": self.settings() }).serialize(to)
    }
}
