//! Generators of adversarial examples, learned beforehand.

mod advgan;
#[cfg(test)]
mod against_pytorch;
mod bounding;
mod discriminator;
mod distilled;
mod epoch;
mod feature_generator;
mod fits;
mod generator;
#[cfg(test)]
mod golden;
mod image;
mod inputs;
mod losses;
mod named_adam;
mod natural;
mod numbers;
mod parts;
mod perturbation;
mod plus_plus;
mod schedule;
mod step;
mod stored_checks;
mod target;
mod training;

pub use advgan::AdvGan;
pub use bounding::Bounding;
pub use discriminator::Discriminator;
pub use distilled::{Distillation, DistilledCopy};
pub use feature_generator::{FeatureGenerator, FeatureGeneratorConfig};
pub(super) use fits::same_shape;
pub use generator::{Generator, GeneratorConfig, GeneratorNorm, ResnetBlock};
pub use image::GeneratedImage;
pub use losses::{GanLoss, GanLosses, GeneratorLoss};
pub use natural::{
    Critic, Inverter, LatentConfig, LatentGenerator, Natural, NaturalAdversary, NaturalExample,
    NaturalOutcome, Reconstruction, ReconstructionLimits, ShellOrder, ShellSearch, Wgan, WganLosses,
    WganTraining,
};
pub use perturbation::GeneratedPerturbation;
pub use plus_plus::AdvGanPlusPlus;
pub use schedule::GanSchedule;
pub use step::StepLosses;
pub use training::GanTraining;
