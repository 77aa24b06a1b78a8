//! Defenses: what a training step minimises, what changes images before the classifier, what rejects them, and randomized
//! smoothing.

pub mod detector;
mod error;
mod objective;
mod preprocess;
pub mod smoothing;

pub use error::DefenseError;
pub use objective::{
    Awp, Crafting, CrossEntropy, EnsembleAt, FgsmRs, GaussianNoise, Loss, Objective, PgdAt,
    StainAugmentation, Step, Trades, Trainee, Weight, cross_entropy,
};
pub use preprocess::{
    Backward, BitDepth, Chain, Custom, ImageDraws, ImageFunction, Interpolation, Jpeg, JpegBackward, Levels,
    Median, MedianBackward, Preprocess, RandomResizePad, Subsampling, TotalVariation, attack_views,
};
pub use smoothing::{SmoothAdv, Smoothing};
