//! How an autoencoder is trained.

use burn::config::Config;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use rand::seq::SliceRandom;

use super::autoencoder::Autoencoder;
use crate::adam::Adam;
use crate::data::LabeledImages;
use crate::defense::GaussianNoise;
use crate::defense::detector::error::DetectorError;
use crate::parameter::{self, Parameter};
use crate::random::{Purpose, generator};

const ORDER: Purpose = Purpose::named("the order of images for an autoencoder");

/// Training of an [`Autoencoder`] to take noise away: the mean squared error between its output for
/// `clip(x + sigma N)` and `x`, and a small share of the squared activations, under Adam.
///
/// Meng & Chen, CCS 2017, section 5; the settings of the authors' `train_defense.py` and Keras (2.0). The
/// noise of an image is drawn once from (seed, index) and stays through all epochs, as there.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | sigma | required; in the paper 0.1 for MNIST and 0.025 for CIFAR-10 | a finite number of at least 0 |
/// | epochs | 100 | at least 1 |
/// | batch size | 256 | at least 1 |
/// | learning rate | 0.001 | a finite number above 0 |
/// | activity weight | 1e-9 | a finite number of at least 0 |
/// | seed | 0 | any |
#[derive(Config, Copy, Debug, PartialEq)]
pub struct AutoencoderTraining {
    /// Standard deviation of the noise on the \[0,1\] scale.
    pub sigma: f64,
    /// Passes through the images.
    #[config(default = 100)]
    pub epochs: usize,
    /// Images of a step.
    #[config(default = 256)]
    pub batch_size: usize,
    /// Adam's.
    #[config(default = 0.001)]
    pub learning_rate: f64,
    /// The weight of an image's squared activations in the loss.
    #[config(default = 1e-9)]
    pub activity_weight: f64,
    /// The seed of noise and order.
    #[config(default = 0)]
    pub seed: u64,
}

/// What training gives.
#[derive(Clone, Debug)]
pub struct TrainedAutoencoder {
    /// In evaluation mode, outside autodiff.
    pub autoencoder: Autoencoder,
    /// The mean loss of each epoch.
    pub losses: Vec<f64>,
}

impl AutoencoderTraining {
    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::from_zero("sigma", self.sigma),
            Parameter::at_least("epochs", self.epochs, 1),
            Parameter::at_least("batch size", self.batch_size, 1),
            Parameter::above_zero("learning rate", self.learning_rate),
            Parameter::from_zero("activity weight", self.activity_weight),
        ]
    }

    /// Trains on these clean images, which must not be those that thresholds are set from later. The same
    /// settings, images and initial weights give the same weights.
    ///
    /// # Errors
    ///
    /// [`DetectorError`] on a parameter out of its range, no image, an image that cannot be read, or a loss
    /// that is NaN or infinite.
    ///
    /// # Panics
    ///
    /// Panics on images that do not fit the autoencoder, as [`Autoencoder::forward`] does.
    pub fn train(
        &self,
        autoencoder: Autoencoder,
        clean: &dyn LabeledImages,
    ) -> Result<TrainedAutoencoder, DetectorError> {
        parameter::check(self.parameters())?;
        if clean.is_empty() {
            return Err(unfit("at least one clean image", "none".into()));
        }
        let device = autoencoder.devices().first().expect("a convolution").clone().inner().autodiff();
        let mut model = autoencoder.valid().train().fork(&device);
        // Keras' epsilon.
        let mut adam = Adam::new().with_epsilon(1e-7).init();
        let mut losses = Vec::with_capacity(self.epochs);
        for epoch in 1..=self.epochs {
            let mut order: Vec<usize> = (0..clean.len()).collect();
            order.shuffle(&mut generator(ORDER, self.seed, &[epoch as u64]));
            let mut total = 0.0;
            for positions in order.chunks(self.batch_size) {
                let (loss, next) = self.step(model, &mut adam, clean, positions, &device)?;
                if !loss.is_finite() {
                    return Err(unfit("a finite loss", format!("{loss} in epoch {epoch}")));
                }
                model = next;
                total += loss * positions.len() as f64;
            }
            losses.push(total / clean.len() as f64);
        }
        Ok(TrainedAutoencoder { autoencoder: model.valid(), losses })
    }

    fn step(
        &self,
        model: Autoencoder,
        adam: &mut burn::optim::ModuleOptimizer,
        clean: &dyn LabeledImages,
        positions: &[usize],
        device: &Device,
    ) -> Result<(f64, Autoencoder), DetectorError> {
        let batch = clean.batch(positions, device)?;
        let noise = GaussianNoise::new(self.sigma).with_seed(self.seed);
        let noisy = noise.noisy(batch.images.clone(), &batch.indices, 0).expect("a sigma in its range");
        let (reconstruction, activity) = model.forward_with_activity(noisy);
        let error = (reconstruction - batch.images).square().mean();
        let loss = error + activity.mean() * self.activity_weight;
        let value = f64::from(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        Ok((value, adam.step(self.learning_rate, model, gradients)))
    }
}

fn unfit(expected: &str, found: String) -> DetectorError {
    DetectorError::Fit { detector: "autoencoder", expected: expected.into(), found }
}
