//! Detectors of adversarial images, thresholds for them, classifiers that reject, and attacks that know all
//! three.
//!
//! A [`Detector`] scores an image; a [`Threshold`], from clean images that did not fit the detector, makes
//! an [`Alarm`] of it; a [`Guard`] is a classifier with alarms. How often a detector catches an attack that
//! does not know it says little: every detector here has been evaded (Carlini & Wagner, "Adversarial Examples
//! Are Not Easily Detected", AISec 2017). [`Adaptive`] is the attack to report beside the others, and
//! [`Evading`] makes one of every other attack, black boxes too.
//!
//! ```
//! use std::sync::Arc;
//!
//! use histoguard::classifier::FrozenFeatures;
//! use histoguard::defense::detector::{Adaptive, AdaptiveConfig, Calibration, FeatureSqueezing, Guard};
//! use histoguard::defense::detector::ImageMap;
//! use histoguard::prelude::*;
//!
//! let device = Device::default();
//! let config = DenseNetConfig::new(2).with_block_config(vec![1]).with_num_init_features(4);
//! let model = Normalized::new(config.init(&device), Normalization::IMAGENET);
//! // 3 bits a channel; the gradient goes straight through.
//! let depth = ImageMap::new("3 bits", |x: Tensor<4>| {
//!     let squeezed = (x.clone() * 7.0).round() / 7.0;
//!     x.clone() + (squeezed - x).detach()
//! });
//! let squeezing = FeatureSqueezing::new(FrozenFeatures::new(model.clone()), vec![depth])?;
//!
//! let classes = || vec!["benign".to_string(), "malignant".to_string()];
//! let grey = |count: i64, shift: f32| Tensor::<1, Int>::arange(0..count, &device).float() * 0.04 + shift;
//! let images = |count: i64, shift| grey(count, shift).reshape([-1, 1, 1, 1]).expand([count, 3, 32, 32]);
//! let validation = TensorSet::new(images(20, 0.1), (0..20).map(|i| i % 2).collect(), classes())?;
//! let test = TensorSet::new(images(8, 0.12), (0..8).map(|i| i % 2).collect(), classes())?;
//!
//! let (victim, rate) = (Frozen::new(model), Calibration::new(0.1));
//! let guard = Guard::calibrated(victim, vec![Arc::new(squeezing)], &rate, &validation)?;
//! let budget = Budget::pixels(8.0);
//! let oblivious = Pgd::new(budget);
//! let adaptive = Adaptive::new(AdaptiveConfig::new(budget).with_steps(5), guard.alarms());
//! let report = guard.report(&test, &[&oblivious, &adaptive], 4)?;
//! println!("clean: {}, rejected {}", report.clean.accuracy, report.clean.false_alarms);
//! for under in &report.attacks {
//!     println!("{}: {} not lost, {} detected", under.attack, under.robust_accuracy, under.detected);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adaptive;
mod alarm;
mod base;
mod density;
mod error;
mod guard;
mod image_map;
mod magnet;
mod scores;
mod squeezing;
mod threshold;

pub use adaptive::{Adaptive, AdaptiveConfig, Evading};
pub use alarm::{Alarm, Calibration};
pub use base::Detector;
pub use density::{KernelDensity, Mahalanobis, Shrunk, ledoit_wolf};
pub use error::DetectorError;
pub use guard::{Answer, Attacked, CleanRates, DetectorRates, Guard, GuardReport, Separation};
pub use image_map::ImageMap;
pub use magnet::{
    Activation, Autoencoder, AutoencoderConfig, AutoencoderTraining, Layer, ReconstructionDivergence,
    ReconstructionError, TrainedAutoencoder, jensen_shannon, reformed,
};
pub use scores::scores;
pub use squeezing::FeatureSqueezing;
pub use threshold::Threshold;
