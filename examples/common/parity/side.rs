//! The same network and images on one of the two devices.

use histoguard::prelude::*;

use super::network::{Drawn, Model};
use crate::common::failure::Failure;

/// Everything that a case needs, on one device.
pub struct Side {
    pub model: Model,
    pub victim: Frozen,
    /// `[images, 3, height, width]`.
    pub images: Tensor<4>,
    /// The classes that the network gives the images on the CPU; attacks lead away from them.
    pub labels: Vec<usize>,
}

impl Side {
    /// Loads the network and the images onto a device, where the crate's kernels may compute or may not.
    pub fn new(drawn: &Drawn, device: &Device, kernels: bool) -> Result<Self, Failure> {
        let net = drawn.config.init(device).with_kernels(kernels);
        let model = Normalized::new(weights::load(net, &drawn.weights)?, Normalization::IMAGENET);
        Ok(Self {
            victim: Frozen::new(model.clone()),
            model,
            images: Tensor::from_data(drawn.images.clone(), device),
            labels: drawn.labels.clone(),
        })
    }

    pub fn goal(&self) -> Goal {
        Goal::untargeted(&self.labels)
    }
}
