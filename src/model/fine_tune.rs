//! Training on from somebody else's weights: another classifier, and parts that stay as they are.

use burn::module::{Module, ModuleDisplay};
use serde::{Deserialize, Serialize};

use super::densenet::DenseNet;
use super::init::Init;
use super::normalized::Normalized;

/// Which parts of a network training changes.
///
/// A frozen part keeps its weights, and its batch norms use and keep their running statistics, as in evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trainable {
    /// The whole network.
    #[default]
    All,
    /// The classifier alone; the network before it is a fixed map from images to features.
    HeadOnly,
    /// The last dense blocks, from 1 to all of them, what lies between and behind them, and the classifier.
    LastBlocks(usize),
}

/// A network that can be trained on for other classes.
pub trait FineTune: Module {
    /// The network with a new classifier, drawn from `seed` as torchvision draws it: weights uniform in
    /// +-1/sqrt(features), biases of zero.
    ///
    /// # Panics
    ///
    /// Panics if `classes` is 0.
    fn with_fresh_classifier(self, classes: usize, seed: u64) -> Self;

    /// The network of which training changes these parts, and no others.
    ///
    /// The choice outlasts `valid`, `train` and loading of weights, so that a
    #[cfg_attr(feature = "train", doc = "[`Trainer`](crate::train::Trainer)")]
    #[cfg_attr(not(feature = "train"), doc = "trainer")]
    /// keeps to it.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use histoguard::model::{DenseNetConfig, Trainable, FineTune};
    ///
    /// let net = DenseNetConfig::densenet121(2).init(&Device::default().autodiff());
    /// let net = net.with_trainable(Trainable::LastBlocks(1));
    /// assert!(!net.features.conv0.weight.is_require_grad());
    /// assert!(net.features.norm5.gamma.is_require_grad() && net.classifier.weight.is_require_grad());
    /// ```
    ///
    /// # Panics
    ///
    /// Panics on [`Trainable::LastBlocks`] of no block or of more than the network has.
    fn with_trainable(self, trainable: Trainable) -> Self;
}

impl FineTune for DenseNet {
    fn with_fresh_classifier(mut self, classes: usize, seed: u64) -> Self {
        assert!(classes > 0, "classes: expected at least 1, found 0");
        let weight = &self.classifier.weight;
        let (features, device) = (weight.lazy_shape()[0], weight.lazy_device());
        self.classifier = Init::new(&device, seed).linear(features, classes);
        self
    }

    fn with_trainable(self, trainable: Trainable) -> Self {
        let mut net = self.unfreeze();
        let blocks = net.features.denseblocks.len();
        let frozen = match trainable {
            Trainable::All => return net,
            Trainable::HeadOnly => {
                net.features = net.features.freeze();
                return net;
            }
            Trainable::LastBlocks(count) => {
                assert!((1..=blocks).contains(&count), "LastBlocks: expected 1 to {blocks}, found {count}");
                blocks - count
            }
        };
        net.features.conv0 = net.features.conv0.freeze();
        net.features.norm0 = net.features.norm0.freeze();
        freeze_first(&mut net.features.denseblocks, frozen);
        freeze_first(&mut net.features.transitions, frozen);
        net
    }
}

fn freeze_first<M: Module>(parts: &mut Vec<M>, count: usize) {
    let freeze = |(index, part): (usize, M)| if index < count { part.freeze() } else { part };
    *parts = std::mem::take(parts).into_iter().enumerate().map(freeze).collect();
}

impl<C: FineTune + ModuleDisplay> FineTune for Normalized<C> {
    fn with_fresh_classifier(mut self, classes: usize, seed: u64) -> Self {
        self.network = self.network.with_fresh_classifier(classes, seed);
        self
    }

    fn with_trainable(mut self, trainable: Trainable) -> Self {
        self.network = self.network.with_trainable(trainable);
        self
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::classifier::Classifier;
    use crate::model::DenseNetConfig;
    use crate::pixels::Normalization;

    fn tiny(device: &Device) -> DenseNet {
        DenseNetConfig::new(2)
            .with_growth_rate(2)
            .with_num_init_features(4)
            .with_block_config(vec![1, 2, 1])
            .init(device)
    }

    /// What gradients reach and what is in training mode: stem, blocks, transitions, norm5, classifier.
    fn trained(net: &DenseNet) -> Vec<bool> {
        let features = &net.features;
        let mut parts = vec![features.conv0.weight.is_require_grad()];
        for block in &features.denseblocks {
            parts.push(block.layers[0].conv2.weight.is_require_grad());
            assert_eq!(block.layers[0].norm2.training.is_enabled(), parts[parts.len() - 1]);
        }
        for transition in &features.transitions {
            parts.push(transition.conv.weight.is_require_grad());
            assert_eq!(transition.norm.training.is_enabled(), parts[parts.len() - 1]);
        }
        parts.extend([features.norm5.gamma.is_require_grad(), net.classifier.weight.is_require_grad()]);
        assert_eq!(features.norm0.training.is_enabled(), parts[0]);
        parts
    }

    #[test]
    fn the_choice_is_kept_through_evaluation_and_can_be_taken_back() {
        let (t, f) = (true, false);
        for (trainable, expected) in [
            (Trainable::All, [t, t, t, t, t, t, t, t]),
            (Trainable::HeadOnly, [f, f, f, f, f, f, f, t]),
            (Trainable::LastBlocks(1), [f, f, f, t, f, f, t, t]),
            (Trainable::LastBlocks(2), [f, f, t, t, f, t, t, t]),
            (Trainable::LastBlocks(3), [f, t, t, t, t, t, t, t]),
        ] {
            let net = tiny(&Device::default().autodiff()).with_trainable(trainable);
            assert_eq!(trained(&net), expected, "{trainable:?}");
            assert_eq!(trained(&net.valid().train()), expected, "{trainable:?} after evaluation");
            let plain = tiny(&Device::default()).with_trainable(trainable);
            assert_eq!(trained(&plain.train()), expected, "{trainable:?} chosen before training");
            assert_eq!(trained(&net.with_trainable(Trainable::All)), [t; 8], "{trainable:?} taken back");
        }
    }

    #[test]
    fn a_network_has_no_last_blocks_beyond_its_own() {
        for count in [0, 4] {
            let choose = || tiny(&Device::default()).with_trainable(Trainable::LastBlocks(count));
            assert!(std::panic::catch_unwind(choose).is_err(), "{count}");
        }
    }

    #[test]
    fn a_fresh_classifier_has_its_classes_and_depends_on_the_seed_alone() {
        let device = Device::default().autodiff();
        let model = Normalized::new(tiny(&device).with_trainable(Trainable::HeadOnly), Normalization::NONE);
        let [a, b, c] = [1, 1, 2].map(|seed| model.clone().with_fresh_classifier(5, seed));
        assert_eq!(a.num_classes(), 5);
        assert!(a.network.classifier.weight.is_require_grad());
        let [a, b, c] = [a, b, c].map(|model| model.network.classifier.weight.val().into_data());
        assert!(a == b && a != c);
    }
}
