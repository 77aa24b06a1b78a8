//! A generator and its inverter, for use.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::super::numbers::{filled, path_name};
use super::config::LatentConfig;
use super::generator::LatentGenerator;
use super::inverter::Inverter;
use crate::attack::stored::Numbers;

/// A generator and its inverter outside autodiff.
#[derive(Clone)]
pub(super) struct Models {
    networks: Arc<(LatentGenerator, Inverter)>,
    device: Device,
}

impl Models {
    /// Those with these weights; what was expected and what was found where they are others'.
    pub(super) fn new(
        config: LatentConfig,
        [generator, inverter]: [&Numbers; 2],
        device: &Device,
    ) -> Result<Self, (String, String)> {
        let device = device.clone().inner();
        let networks = (
            filled(LatentGenerator::blank(config, &device), generator, path_name)?,
            filled(Inverter::blank(config, &device), inverter, path_name)?,
        );
        Ok(Self { networks: Arc::new(networks), device })
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// What the generator makes of codes `[batch, latent]`, on this device.
    pub(super) fn images(&self, codes: Tensor<2>, device: &Device) -> Tensor<4> {
        self.networks.0.forward(codes.to_device(&self.device)).to_device(device)
    }

    /// The codes of images, on their own device.
    pub(super) fn codes(&self, images: Tensor<4>) -> Tensor<2> {
        self.networks.1.forward(images.inner().to_device(&self.device))
    }
}
