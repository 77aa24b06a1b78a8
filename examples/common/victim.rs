//! The network that is attacked.

use std::path::Path;

use histoguard::prelude::*;
use histoguard::weights::{self, WeightsError};

use crate::common::checkpoint::noted;

/// A checkpoint's DenseNet, whichever it is, of so many classes behind ImageNet's normalization.
pub fn load(checkpoint: &Path, classes: usize) -> Result<Normalized<DenseNet>, WeightsError> {
    let config = DenseNetConfig { num_classes: classes, ..weights::densenet_config(checkpoint)? };
    let net = config.init(&Device::default());
    Ok(Normalized::new(weights::load(net, noted(checkpoint))?, Normalization::IMAGENET))
}
