//! MagNet: autoencoders that detect and reform.

mod autoencoder;
mod divergence;
mod reconstruction;
mod reformer;
mod training;

pub use autoencoder::{Activation, Autoencoder, AutoencoderConfig, Layer};
pub use divergence::{ReconstructionDivergence, jensen_shannon};
pub use reconstruction::ReconstructionError;
pub use reformer::reformed;
pub use training::{AutoencoderTraining, TrainedAutoencoder};
