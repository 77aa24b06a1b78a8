//! The network that is attacked.

use std::path::Path;

use histoguard::prelude::*;
use histoguard::weights::{self, WeightsError};

use crate::common::checkpoint::noted;

/// A checkpoint's DenseNet-121 of so many classes behind ImageNet's normalization.
pub fn load(checkpoint: &Path, classes: usize) -> Result<Normalized<DenseNet>, WeightsError> {
    let net = DenseNetConfig::densenet121(classes).init(&Device::default());
    Ok(Normalized::new(weights::load(net, noted(checkpoint))?, Normalization::IMAGENET))
}
