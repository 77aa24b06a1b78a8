//! Several passes as one classifier: ensembles, and the expectation over a randomised one.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use serde::{Deserialize, Serialize};

use super::Classifier;
use super::shared::Shared;

/// What is averaged over several networks or several draws of a randomised one (Dong et al., "Boosting
/// Adversarial Attacks with Momentum", CVPR 2018, section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Average {
    /// The logits.
    Logits,
    /// The probabilities; the logits of the whole are the logarithms of their mean.
    Probabilities,
    /// The losses, and so the gradients of the passes, each on its own; predictions come from the mean
    /// logits. This is expectation over transformation as torchattacks' `EOTPGD` has it, and holds one pass
    /// in memory at a time.
    Losses,
}

/// One network or several, each asked once or several times; copies ask the same networks.
#[derive(Clone)]
pub(super) struct Averaged {
    pub(super) members: Vec<Shared>,
    pub(super) draws: usize,
    pub(super) average: Average,
}

impl Averaged {
    /// One network, asked once.
    pub(super) fn one(network: impl Classifier + Send + Sync + 'static) -> Self {
        Self { members: vec![Shared::new(network)], draws: 1, average: Average::Logits }
    }

    /// The network of every pass, in turn.
    pub(super) fn passes(&self) -> impl Iterator<Item = &Shared> {
        (0..self.draws).flat_map(|_| &self.members)
    }

    /// The scores of the whole from those of its passes.
    pub(super) fn mean(&self, passes: impl Iterator<Item = Tensor<2>>) -> Tensor<2> {
        let count = self.members.len() * self.draws;
        match self.average {
            _ if count == 1 => passes.last().expect("one pass"),
            Average::Logits | Average::Losses => {
                passes.reduce(|sum, logits| sum + logits).expect("at least one pass") / count as f64
            }
            Average::Probabilities => mean_probabilities(Tensor::stack(passes.collect(), 0)),
        }
    }
}

/// The logarithm of the mean probabilities of several passes, without underflow: the logits of the whole.
///
/// # Shapes
///
/// - `passes`: logits `[passes, batch, classes]`
/// - output: `[batch, classes]`
pub fn mean_probabilities(passes: Tensor<3>) -> Tensor<2> {
    let all = log_softmax(passes, 2);
    let largest = all.clone().detach().max_dim(0);
    let mean = (all - largest.clone()).exp().mean_dim(0).log() + largest;
    mean.squeeze_dim(0)
}

impl Classifier for Averaged {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.mean(self.passes().map(|network| network.logits(images.clone())))
    }

    fn num_classes(&self) -> usize {
        self.members[0].num_classes()
    }

    fn refuses(&self, channels: usize, height: usize, width: usize) -> Option<String> {
        self.members.iter().find_map(|member| member.refuses(channels, height, width))
    }
}
