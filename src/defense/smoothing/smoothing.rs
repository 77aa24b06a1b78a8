//! The smoothed classifier's answers and certificates.

use burn::config::Config;
use burn::tensor::Tensor;

use super::noise::Noise;
use super::{Certificate, Counts, Prediction, Radius, SmoothingError, Tally};
use crate::classifier::{Frozen, Step};
use crate::parameter::{self, Parameter};
use crate::random::Purpose;
use crate::rows::values;
use crate::statistics::{lower_bound, normal_quantile};

const SELECTION: Purpose = Purpose::named("smoothing's selection draws");
const ESTIMATE: Purpose = Purpose::named("smoothing's estimate draws");

/// Randomized smoothing: answers by majority under normal noise, and how far they are proven to hold (Cohen,
/// Rosenfeld & Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019).
///
/// The smoothed classifier answers `g(x) = argmax_c P(f(x + n) = c)` with n normal of standard deviation
/// sigma on the \[0,1\] scale, before any normalisation. If f gives class A with a probability of at least p,
/// above one half, then g answers A everywhere within the L2 radius `sigma * Phi^-1(p)` (theorem 1).
/// [`predict`](Self::predict) and [`certify`](Self::certify) are the paper's procedures, and right with a
/// probability of at least 1 - alpha, for each image by itself. An abstention counts as an error.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | sigma | required | a finite number above 0 |
/// | alpha | 0.001 | above 0 and below 1 |
/// | selection draws | 100 | at least 1 |
/// | draws | 10,000 | at least log2(1 / alpha) to certify, at least 1 + log2(1 / alpha) to predict |
/// | draws a batch | 100 | at least 1 |
/// | clip | false | |
/// | seed | 0 | any |
///
/// Noise is drawn for each image from the seed, its index in the data set and the draw's number: neither the
/// other images nor the draws a batch change a result.
///
/// **The base must know the noise.** Train it with [`GaussianNoise`](crate::defense::GaussianNoise) of the
/// same sigma and `with_clip(false)`, or with [`SmoothAdv`](super::SmoothAdv): a network trained on clean
/// images answers noise with chance and certifies next to nothing. With `clip` the noisy image is cut to
/// \[0,1\], in every draw: that is part of the base classifier, which must be trained so too.
///
/// **The radius is an L2 one.** An L-infinity budget of the usual size is far longer: [`Radius`] says beside
/// each radius the L-infinity budget that it contains. Even if every draw agrees no radius is above
/// [`largest_radius`](Self::largest_radius).
///
/// ```
/// use histoguard::defense::Smoothing;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let base = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let grey = |level: f32| Tensor::full([1, 1, 4, 4], level, &device);
/// let images = Tensor::cat(vec![grey(0.6), grey(0.5)], 0);
/// let smoothing = Smoothing::new(0.25).with_draws(1000);
/// let certificates = smoothing.certify(&base, images, &[0, 1])?;
/// // The boundary is 0.4 away from the first image, and goes through the second one.
/// assert_eq!((certificates[0].class, certificates[1].class), (Some(1), None));
/// assert!(certificates[0].radius.size() > 0.3 && certificates[0].radius.size() < 0.4);
/// # Ok::<(), histoguard::defense::smoothing::SmoothingError>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub struct Smoothing {
    /// Standard deviation of the noise on the \[0,1\] scale.
    pub sigma: f64,
    /// How likely a wrong answer or certificate is, at most, for each image by itself.
    #[config(default = 0.001)]
    pub alpha: f64,
    /// Draws that choose the class to certify: the paper's n0.
    #[config(default = 100)]
    pub selection_draws: usize,
    /// Draws that bound its probability, and that predict: the paper's n.
    #[config(default = 10_000)]
    pub draws: usize,
    /// Noisy copies that go through the base at once; it does not change a result.
    #[config(default = 100)]
    pub draws_a_batch: usize,
    /// Whether noisy copies are cut to \[0,1\].
    #[config(default = false)]
    pub clip: bool,
    /// Seed of the noise.
    #[config(default = 0)]
    pub seed: u64,
}

impl Smoothing {
    /// The settings beside their ranges, to certify.
    pub fn parameters(&self) -> Vec<Parameter> {
        let bound = self.alpha.powf(1.0 / self.draws as f64);
        let mut parameters = self.shared_parameters();
        parameters.push(self.enough("at least log2(1 / alpha) to certify", bound >= 0.5));
        parameters
    }

    /// The settings beside their ranges, to predict.
    pub fn prediction_parameters(&self) -> Vec<Parameter> {
        let p_value = 2.0 * 0.5f64.powf(self.draws as f64);
        let mut parameters = self.shared_parameters();
        parameters.push(self.enough("at least 1 + log2(1 / alpha) to predict", p_value <= self.alpha));
        parameters
    }

    fn shared_parameters(&self) -> Vec<Parameter> {
        let alpha = self.alpha > 0.0 && self.alpha < 1.0;
        vec![
            self.sigma_parameter(),
            Parameter::new("alpha", "above 0 and below 1", alpha, self.alpha),
            Parameter::at_least("selection draws", self.selection_draws, 1),
            Parameter::at_least("draws a batch", self.draws_a_batch, 1),
        ]
    }

    pub(super) fn sigma_parameter(&self) -> Parameter {
        Parameter::above_zero("sigma", self.sigma)
    }

    fn enough(&self, range: &'static str, fits: bool) -> Parameter {
        let found = format!("{} at alpha {}: every image would abstain", self.draws, self.alpha);
        Parameter::new("draws", range, fits && self.draws > 0, found)
    }

    /// The radius if every draw agrees: no image of so many values is certified further, whatever the
    /// classifier.
    ///
    /// ```
    /// use histoguard::defense::Smoothing;
    ///
    /// let radius = Smoothing::new(0.25).with_draws(100_000).largest_radius(3 * 224 * 224);
    /// assert!((radius.size() - 0.25 * 3.811457).abs() < 1e-6);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if alpha is not between 0 and 1.
    pub fn largest_radius(&self, values: usize) -> Radius {
        let bound = lower_bound(self.draws, self.draws, self.alpha);
        Radius::new(if bound >= 0.5 { self.sigma * normal_quantile(bound) } else { 0.0 }, values)
    }

    /// A certificate for each image.
    ///
    /// To go on after a stop, or to keep what is finished, draw by [`certify_more`](Self::certify_more)
    /// instead.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, channels, height, width]`, values in \[0,1\]
    /// - `indices`: the images' indices in their data set
    /// - output: one an image
    ///
    /// # Errors
    ///
    /// [`SmoothingError`] on a bad setting, image or number of indices, before any work;
    /// [`SmoothingError::Stopped`] if a stop was asked for through the base's [`Frozen::watch`], which also
    /// reports each batch as a step.
    pub fn certify(
        &self,
        base: &Frozen,
        images: Tensor<4>,
        indices: &[u64],
    ) -> Result<Vec<Certificate>, SmoothingError> {
        parameter::check(self.parameters())?;
        let images = checked(base, &images, indices)?;
        let certify = |image: Noisy<'_>| {
            let mut tally = Tally::new(image.values(), base.num_classes());
            loop {
                if let Some(certificate) = self.certificate(&tally) {
                    return Ok(certificate);
                }
                self.draw_certificate(&image, &mut tally)?;
            }
        };
        images.into_iter().map(certify).collect()
    }

    /// The smoothed classifier's answer to each image, by PREDICT on [`draws`](Self::draws) draws: those that
    /// [`certify`](Self::certify) estimates from.
    ///
    /// # Shapes
    ///
    /// As [`certify`](Self::certify).
    ///
    /// # Errors
    ///
    /// As [`certify`](Self::certify).
    pub fn predict(
        &self,
        base: &Frozen,
        images: Tensor<4>,
        indices: &[u64],
    ) -> Result<Vec<Prediction>, SmoothingError> {
        parameter::check(self.prediction_parameters())?;
        let images = checked(base, &images, indices)?;
        let predict = |image: Noisy<'_>| {
            let mut counts = Counts::new(base.num_classes());
            while counts.draws() < self.draws {
                step(base, counts.draws(), self.draws)?;
                self.draw(&image, ESTIMATE, self.draws, &mut counts);
            }
            Ok(Prediction::new(counts, self.alpha))
        };
        images.into_iter().map(predict).collect()
    }

    /// One more batch of draws for the certificate of an image, or none if it is finished. What is drawn so
    /// far can be written down at any time and gone on from, to the same certificate bit for bit.
    ///
    /// ```
    /// use histoguard::defense::smoothing::{Smoothing, Tally};
    /// use histoguard::prelude::*;
    ///
    /// let device = Device::default();
    /// let base = Frozen::from_fn(2, &device, |x| x.mean_dims(&[2, 3]).reshape([-1, 2]));
    /// let image = Tensor::<4>::full([1, 2, 4, 4], 0.5, &device);
    /// let smoothing = Smoothing::new(0.25).with_draws(250);
    /// let mut tally = Tally::new(2 * 4 * 4, base.num_classes());
    /// let certificate = loop {
    ///     if let Some(certificate) = smoothing.certificate(&tally) {
    ///         break certificate;
    ///     }
    ///     smoothing.certify_more(&base, &image, 7, &mut tally)?;
    ///     let kept = serde_json::to_string(&tally)?;
    ///     tally = serde_json::from_str(&kept)?;
    /// };
    /// assert_eq!(vec![certificate], smoothing.certify(&base, image, &[7])?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Shapes
    ///
    /// - `image`: `[1, channels, height, width]`, values in \[0,1\]
    ///
    /// # Errors
    ///
    /// As [`certify`](Self::certify), and [`SmoothingError::Unfinished`] if the draws are not of such an
    /// image, such a classifier or so few draws.
    pub fn certify_more(
        &self,
        base: &Frozen,
        image: &Tensor<4>,
        index: u64,
        tally: &mut Tally,
    ) -> Result<(), SmoothingError> {
        parameter::check(self.parameters())?;
        self.check_unfinished(base, image, tally)?;
        let images = checked(base, image, &[index])?;
        if self.certificate(tally).is_none() {
            images.iter().try_for_each(|image| self.draw_certificate(image, tally))?;
        }
        Ok(())
    }

    /// The certificate, once all its draws are made; `None` before that.
    pub fn certificate(&self, tally: &Tally) -> Option<Certificate> {
        let finished =
            tally.selection.draws() == self.selection_draws && tally.estimate.draws() == self.draws;
        finished.then(|| Certificate::new(tally.clone(), self.sigma, self.alpha))
    }

    /// The next batch of draws of the phase that is not finished.
    fn draw_certificate(&self, image: &Noisy<'_>, tally: &mut Tally) -> Result<(), SmoothingError> {
        step(image.base, tally.draws(), self.selection_draws + self.draws)?;
        if tally.selection.draws() < self.selection_draws {
            self.draw(image, SELECTION, self.selection_draws, &mut tally.selection);
        } else {
            self.draw(image, ESTIMATE, self.draws, &mut tally.estimate);
        }
        Ok(())
    }

    /// The next batch of so many draws in all.
    fn draw(&self, image: &Noisy<'_>, purpose: Purpose, wanted: usize, counts: &mut Counts) {
        let from = counts.draws();
        let to = wanted.min(from.saturating_add(self.draws_a_batch));
        let Noisy { base, image, index } = image;
        let [_, channels, height, width] = image.dims();
        let noise = Noise { purpose, seed: self.seed, parts: &[*index], sigma: self.sigma };
        let noise = noise.draws(from..to, [channels, height, width], (base.device(), image.dtype()));
        counts.add(base.logits(self.clipped(image.clone() + noise)));
    }

    /// The noisy images as the base gets them.
    pub(super) fn clipped(&self, noisy: Tensor<4>) -> Tensor<4> {
        if self.clip { noisy.clamp(0.0, 1.0) } else { noisy }
    }

    fn check_unfinished(
        &self,
        base: &Frozen,
        image: &Tensor<4>,
        tally: &Tally,
    ) -> Result<(), SmoothingError> {
        let (values, classes) = (image.shape().num_elements(), base.num_classes());
        let same = |what: &str, expected: String, found: String, fits: bool| match fits {
            true => Ok(()),
            false => Err(SmoothingError::Unfinished { expected: format!("{expected} {what}"), found }),
        };
        let Tally { selection, estimate, .. } = tally;
        let equal = |what, expected: usize, found: usize| {
            same(what, expected.to_string(), found.to_string(), expected == found)
        };
        equal("values an image", values, tally.values)?;
        equal("classes", classes, selection.classes.len())?;
        equal("classes", classes, estimate.classes.len())?;
        let most = |what, most: usize, found: usize| {
            same(what, format!("at most {most}"), found.to_string(), found <= most)
        };
        most("selection draws", self.selection_draws, selection.draws())?;
        most("estimate draws", self.draws, estimate.draws())?;
        let whole = estimate.draws() == 0 || selection.draws() == self.selection_draws;
        let expected = self.selection_draws.to_string();
        same("selection draws before the first estimate", expected, selection.draws().to_string(), whole)
    }
}

/// Before a batch of draws: reports it, and fails if a stop was asked for.
fn step(base: &Frozen, done: usize, total: usize) -> Result<(), SmoothingError> {
    base.watch().report(Step { attack: "randomized smoothing".into(), done, total });
    if base.watch().is_stopped() { Err(SmoothingError::Stopped) } else { Ok(()) }
}

/// One image to draw noisy copies of.
struct Noisy<'a> {
    base: &'a Frozen,
    /// `[1, channels, height, width]`, on the base's device.
    image: Tensor<4>,
    index: u64,
}

impl Noisy<'_> {
    fn values(&self) -> usize {
        self.image.shape().num_elements()
    }
}

/// Each image by itself, after all checks.
fn checked<'a>(
    base: &'a Frozen,
    images: &Tensor<4>,
    indices: &[u64],
) -> Result<Vec<Noisy<'a>>, SmoothingError> {
    let images = images.clone().inner().to_device(base.device());
    let count = images.dims()[0];
    if indices.len() != count {
        return Err(SmoothingError::Count { images: count, indices: indices.len() });
    }
    let (numbers, size) = (values(images.clone()), images.shape().num_elements() / count.max(1));
    if let Some(position) = numbers.iter().position(|value| !(0.0..=1.0).contains(value)) {
        return Err(SmoothingError::ImageRange { image: position / size, value: numbers[position] });
    }
    let noisy = |row: usize| Noisy { base, image: images.clone().narrow(0, row, 1), index: indices[row] };
    Ok((0..count).map(noisy).collect())
}
