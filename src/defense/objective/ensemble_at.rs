//! Adversarial training on single steps at several networks.

use std::fmt;

use burn::tensor::Tensor;
use rand::RngExt;
use serde::{Serialize, Serializer};

use super::base::{Loss, Objective};
use super::cross_entropy::cross_entropy;
use super::step::Step;
use super::trainee::Trainee;
use crate::attack::{Attack, Fgsm, Goal, norm_among};
use crate::classifier::Frozen;
use crate::data::Batch;
use crate::defense::DefenseError;
use crate::parameter::{self, Parameter};
use crate::pixels::{Budget, Norm};
use crate::random::{Purpose, generator};

/// Ensemble adversarial training: half the cross-entropy of the images as they are, half that of one FGSM
/// step at a network that is drawn for each batch, evenly among networks trained before and the one that is
/// trained.
///
/// Tramèr et al., "Ensemble Adversarial Training: Attacks and Defenses", ICLR 2018, section 4.1, and its code
/// (ensemble-adv-training, `train_adv.py`). The step leads away from what the source itself predicts, not
/// from the label: from a step that knows the label the network learns to read the label (label leaking;
/// Kurakin, Goodfellow & Bengio, ICLR 2017).
///
/// **It does not resist PGD** on the network itself, nor any attack of several steps: it is made against
/// examples that transfer from other networks, and single steps on the network itself find less than they
/// seem to.
///
/// | parameter | default | range |
/// | --- | --- | --- |
/// | budget | required; 0.3 in the paper's MNIST | a finite number of at least 0 |
/// | norm | the budget's | Linf |
/// | models | required | at least 1, with names of their own |
/// | classes | the models' | those of the network |
/// | seed | 0 | any |
///
/// Images as they are come first, then the crafted ones in a pass of their own: the running statistics of
/// batch norm move twice a step. A source is in evaluation mode. Which one it is depends on the seed, the
/// epoch and the index of the batch's first image. Accuracy in training is that of the crafted images.
///
/// A run is resumed if the models have the names that they had: names stand for the weights.
///
/// ```
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// # let other = |seed| {
/// #     let net = DenseNetConfig::densenet121(2).with_block_config(vec![1]).with_growth_rate(4);
/// #     Frozen::new(Normalized::new(net.init_seeded(&device, seed), Normalization::IMAGENET))
/// # };
/// # let (first, second) = (other(1), other(2));
/// // Two networks that were trained without a defense.
/// let objective = EnsembleAt::new(Budget::pixels(4.0), [("first", first), ("second", second)]);
/// assert_eq!(objective.models().collect::<Vec<_>>(), ["first", "second"]);
/// ```
#[derive(Serialize)]
pub struct EnsembleAt {
    budget: Budget,
    models: Vec<Static>,
    seed: u64,
}

/// A network that was trained before.
struct Static {
    name: String,
    model: Frozen,
}

/// Where a batch's step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// At one of the models.
    Static(usize),
    /// At the network that is trained.
    Itself,
}

impl EnsembleAt {
    /// With these networks beside the one that is trained, under names that tell them from others.
    pub fn new<N: Into<String>>(budget: Budget, models: impl IntoIterator<Item = (N, Frozen)>) -> Self {
        let named = |(name, model): (N, Frozen)| Static { name: name.into(), model };
        Self { budget, models: models.into_iter().map(named).collect(), seed: 0 }
    }

    /// The seed of the draws.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The models' names.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|model| model.name.as_str())
    }

    pub(super) fn source(&self, batch: &Batch) -> Source {
        let first = batch.indices.first().copied().unwrap_or(0);
        let drawn = generator(Purpose::OBJECTIVE, self.seed, &[batch.epoch as u64, first])
            .random_range(0..=self.models.len());
        if drawn < self.models.len() { Source::Static(drawn) } else { Source::Itself }
    }

    pub(super) fn craft_at(&self, step: &Step<'_>, source: Source) -> Result<Tensor<4>, DefenseError> {
        parameter::check(self.parameters())?;
        match source {
            Source::Itself => self.stepped(step, step.victim()),
            Source::Static(number) => {
                let model = &self.models[number].model;
                let (classes, expected) = (model.num_classes(), step.network().num_classes());
                let name = &self.models[number].name;
                let found = format!("{classes} ({name}) where the network has {expected}");
                Parameter::new("classes", "those of the network", classes == expected, found).check()?;
                self.stepped(step, model)
            }
        }
    }

    /// One step away from what the source itself predicts.
    fn stepped(&self, step: &Step<'_>, source: &Frozen) -> Result<Tensor<4>, DefenseError> {
        let images = step.batch().images.clone().inner();
        let device = images.device();
        let images = images.to_device(source.device());
        let goal = Goal::untargeted(source.predict(images.clone()));
        Ok(Fgsm::new(self.budget).perturb(source, images, &goal)?.to_device(&device))
    }
}

impl Objective for EnsembleAt {
    fn name(&self) -> String {
        "ensemble adversarial training".into()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut names: Vec<&str> = self.models().collect();
        names.sort_unstable();
        let apart = !names.is_empty() && names.windows(2).all(|pair| pair[0] != pair[1]);
        vec![
            self.budget.parameter("budget"),
            norm_among(self.budget.norm(), &[Norm::Linf]),
            Parameter::new("models", "at least 1, with names of their own", apart, names.join(", ")),
        ]
    }

    fn craft(&self, step: &Step<'_>) -> Result<Tensor<4>, DefenseError> {
        self.craft_at(step, self.source(step.batch()))
    }

    fn loss(&self, network: &dyn Trainee, batch: &Batch, crafted: Tensor<4>) -> Loss {
        let clean = cross_entropy(network, batch.images.clone(), batch.labels.clone());
        let Loss { value, logits } = cross_entropy(network, crafted, batch.labels.clone());
        Loss { value: (clean.value + value) * 0.5, logits }
    }

    fn budget(&self) -> Option<Budget> {
        Some(self.budget)
    }
}

impl fmt::Debug for EnsembleAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, models, seed } = self;
        f.debug_struct("EnsembleAt")
            .field("budget", budget)
            .field("models", models)
            .field("seed", seed)
            .finish()
    }
}

impl fmt::Debug for Static {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// The name, which stands for the weights.
impl Serialize for Static {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.name.serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn constant() -> Frozen {
        Frozen::from_fn(2, &Device::default(), |x| Tensor::zeros([x.dims()[0], 2], &x.device()))
    }

    #[test]
    fn sources_are_drawn_evenly_and_anew_in_each_epoch() {
        let device = Device::default();
        let objective = EnsembleAt::new(Budget::pixels(4.0), [("a", constant()), ("b", constant())]);
        let batch = |epoch, first| Batch {
            images: Tensor::zeros([1, 1, 1, 1], &device),
            labels: Tensor::from_data([0], &device),
            indices: vec![first],
            epoch,
        };
        let drawn = |objective: &EnsembleAt, epoch| -> Vec<Source> {
            (0..3000).map(|first| objective.source(&batch(epoch, first))).collect()
        };
        let sources = drawn(&objective, 1);
        for source in [Source::Static(0), Source::Static(1), Source::Itself] {
            // 3,000 draws of one in three: within five standard errors.
            let count = sources.iter().filter(|&&other| other == source).count() as f64;
            assert!((count - 1000.0).abs() < 5.0 * (3000.0f64 * 2.0 / 9.0).sqrt(), "{source:?}: {count}");
        }
        assert_eq!(sources, drawn(&objective, 1));
        assert_ne!(sources, drawn(&objective, 2), "another epoch");
        assert_ne!(sources, drawn(&objective.with_seed(1), 1), "another seed");
    }

    #[test]
    fn models_need_names_of_their_own() {
        let refused = |models: Vec<(&str, Frozen)>| {
            let objective = EnsembleAt::new(Budget::pixels(4.0), models);
            parameter::check(objective.parameters()).unwrap_err().to_string()
        };
        let expected = "models: expected at least 1, with names of their own, found ";
        assert_eq!(refused(vec![]), expected);
        assert_eq!(
            refused(vec![("a", constant()), ("b", constant()), ("a", constant())]),
            format!("{expected}a, a, b")
        );
    }
}
