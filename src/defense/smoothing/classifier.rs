//! The smoothed classifier as a victim.

use burn::tensor::Tensor;

use super::noise::Noise;
use super::{Smoothing, SmoothingError};
use crate::classifier::{Frozen, mean_probabilities};
use crate::parameter::{self, Parameter};
use crate::random::Purpose;

const COPIES: Purpose = Purpose::named("smoothing's classifier");

impl Smoothing {
    /// The smoothed classifier, for attacks and evaluations: its logits are the logarithms of the base's
    /// probabilities, averaged over so many noisy copies of an image.
    ///
    /// The noise is drawn from the seed and the copy's number alone, the same for every image: a victim is
    /// not told which image it sees, and answers the same at every query. It is the soft version of the
    /// smoothed classifier, which has gradients; certificates hold for the majority vote, which
    /// [`predict`](Self::predict) gives. [`draws`](Self::draws) and alpha do not matter. A query costs as
    /// many passes through the base as there are copies, and an input gradient holds all of them in memory.
    ///
    /// ```
    /// use histoguard::defense::Smoothing;
    /// use histoguard::prelude::*;
    ///
    /// let device = Device::default();
    /// let net = DenseNetConfig::densenet121(2).init(&device);
    /// let base = Frozen::new(Normalized::new(net, Normalization::IMAGENET));
    /// let victim = Smoothing::new(0.25).classifier(base, 4)?;
    /// let logits = victim.logits(Tensor::full([1, 3, 32, 32], 0.5, &device));
    /// assert!((logits.exp().sum().into_scalar::<f32>() - 1.0).abs() < 1e-5);
    /// assert_eq!(victim.watch().queries().forwards, 4);
    /// # Ok::<(), histoguard::defense::smoothing::SmoothingError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SmoothingError::Parameter`] unless sigma is above 0 and there is a copy.
    pub fn classifier(self, base: Frozen, copies: usize) -> Result<Frozen, SmoothingError> {
        parameter::check([self.sigma_parameter(), Parameter::at_least("copies", copies, 1)])?;
        Ok(base.wrapped(copies, move |base, images| {
            let [_, channels, height, width] = images.dims();
            let (device, dtype) = (images.device().inner(), images.dtype());
            let noise = Noise { purpose: COPIES, seed: self.seed, parts: &[], sigma: self.sigma };
            let pass = |copy| {
                let noise = noise.draws(copy..copy + 1, [channels, height, width], (&device, dtype));
                base.logits(self.clipped(images.clone() + noise))
            };
            mean_probabilities(Tensor::stack((0..copies).map(pass).collect(), 0))
        }))
    }
}
