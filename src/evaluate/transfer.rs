//! Adversarial images of one model, judged by another.

use serde::{Deserialize, Serialize};

use super::crafting::{Targets, classify};
use super::robustness::{grey_levels, readable};
use super::{EvaluationError, Judged, Metrics, Proportion};
use crate::attack::{Attack, Norm};
use crate::classifier::Frozen;
use crate::data::LabeledImages;
use crate::pixels::Epsilon;

/// Which model's adversarial images break which other model.
///
/// Every image is attacked on every model and the result shown to all of them. Off the diagonal this is the
/// black-box attack with a substitute network (Papernot et al., "Practical black-box attacks against machine
/// learning", ASIA CCS 2017); a model that falls to another one's images while it resists its own has masked
/// gradients (Athalye, Carlini & Wagner, ICML 2018, section 3.1).
///
/// ```
/// use histoguard::data::TensorSet;
/// use histoguard::evaluate::TransferMatrix;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// // Two classes by brightness, with the boundary at another place.
/// let bright = |threshold: f64| {
///     Frozen::from_fn(2, &device, move |x| {
///         let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - threshold;
///         Tensor::cat(vec![bright.clone().neg(), bright], 1)
///     })
/// };
/// let images = Tensor::<1>::from_floats([0.2, 0.9], &device).reshape([2, 1, 1, 1]);
/// let data = TensorSet::new(images, vec![0, 1], vec!["dark".into(), "bright".into()])?;
/// let (one, other) = (bright(0.5), bright(0.4));
/// let attack = Fgsm::new(Epsilon::unit(0.25));
/// let matrix = TransferMatrix::new(&[("one", &one), ("other", &other)], &attack, &data, 16)?;
/// // 0.2 + 0.25 is bright for the other model alone, whoever crafted it.
/// assert_eq!(matrix.cells[0][1].accuracy.hits, 1);
/// assert_eq!(matrix.cells[1][0].accuracy.hits, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransferMatrix {
    /// The attack's name.
    pub attack: String,
    /// The norm of its budget.
    pub norm: Norm,
    /// Its budget; in JSON in grey levels, as `epsilon_pixels`. `None` if it looks for the smallest
    /// perturbation.
    #[serde(rename = "epsilon_pixels", with = "optional")]
    pub epsilon: Option<Epsilon>,
    /// Names of the models.
    pub models: Vec<String>,
    /// Each model without attack.
    pub clean: Vec<Proportion>,
    /// `cells[i][j]`: crafted on model `i`, judged by model `j`.
    pub cells: Vec<Vec<Transferred>>,
}

/// Images crafted on one model and judged by another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transferred {
    /// Images that the judging model gets right under attack, of all.
    pub accuracy: Proportion,
    /// Images that it gets wrong under attack, of those that it gets right without.
    pub success: Proportion,
    /// The mean over slides of their share of right images.
    pub patient_rate: Option<f64>,
}

impl TransferMatrix {
    /// Attacks every image on every model, `batch_size` at a time, and shows the results to all of them.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`]: no model, no image, a batch size of 0, a model with another number of classes, an
    /// image that cannot be read, or an attack that refuses.
    pub fn new(
        models: &[(&str, &Frozen)],
        attack: &dyn Attack,
        data: &dyn LabeledImages,
        batch_size: usize,
    ) -> Result<Self, EvaluationError> {
        let parameter =
            |parameter, expected| Err(EvaluationError::Parameter { parameter, expected, found: "0".into() });
        match (models.len(), batch_size) {
            (0, _) => return parameter("models", "at least 1"),
            (_, 0) => return parameter("batch size", "at least 1"),
            _ if data.is_empty() => return Err(EvaluationError::Empty),
            _ => {}
        }
        let classes = data.classes();
        if let Some((_, other)) = models.iter().find(|(_, model)| model.num_classes() != classes.len()) {
            let (expected, found) = (classes.len(), other.num_classes());
            return Err(EvaluationError::Classes { expected, found });
        }
        let count = models.len();
        let mut clean = vec![Vec::new(); count];
        let mut attacked = vec![vec![Vec::new(); count]; count];
        for start in (0..data.len()).step_by(batch_size) {
            let positions: Vec<usize> = (start..data.len().min(start + batch_size)).collect();
            for (i, (_, source)) in models.iter().enumerate() {
                let batch = data.batch(&positions, source.device())?;
                clean[i].extend(classify(source, batch.images.clone())?);
                let labels = positions.iter().map(|&p| data.label(p)).collect();
                let targets = Targets::new(batch.images, labels, batch.indices);
                let result = attack.perturb(source, targets.images.clone(), &targets.goal)?;
                let limit = attack.epsilon().map_or(f64::INFINITY, Epsilon::value);
                let crafted = targets.crafted(result, attack.norm(), limit)?;
                for (j, (_, judge)) in models.iter().enumerate() {
                    attacked[i][j].extend(classify(judge, crafted.images(judge))?);
                }
            }
        }
        let groups: Vec<String> = (0..data.len()).map(|p| data.group(p)).collect();
        let right = |outcomes: &[super::Outcome], p: usize| outcomes[p].is(data.label(p));
        let cell = |i: usize, j: usize| {
            let judged: Vec<Judged<'_>> = (0..data.len())
                .map(|p| Judged { label: data.label(p), group: &groups[p], outcome: attacked[i][j][p] })
                .collect();
            let metrics = Metrics::new(classes, &judged);
            let before: Vec<usize> = (0..data.len()).filter(|&p| right(&clean[j], p)).collect();
            let fallen = before.iter().filter(|&&p| !right(&attacked[i][j], p)).count();
            Transferred {
                accuracy: metrics.accuracy,
                success: Proportion::new(fallen, before.len()),
                patient_rate: metrics.patient_rate,
            }
        };
        let accuracy = |outcomes: &Vec<super::Outcome>| {
            Proportion::new((0..data.len()).filter(|&p| right(outcomes, p)).count(), data.len())
        };
        Ok(Self {
            attack: attack.name().into(),
            norm: attack.norm(),
            epsilon: attack.epsilon().map(readable),
            models: models.iter().map(|(name, _)| name.to_string()).collect(),
            clean: clean.iter().map(accuracy).collect(),
            cells: (0..count).map(|i| (0..count).map(|j| cell(i, j)).collect()).collect(),
        })
    }
}

mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Epsilon, grey_levels};

    #[derive(Serialize, Deserialize)]
    struct Levels(#[serde(with = "grey_levels")] Epsilon);

    pub(super) fn serialize<S: Serializer>(epsilon: &Option<Epsilon>, to: S) -> Result<S::Ok, S::Error> {
        epsilon.map(Levels).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Epsilon>, D::Error> {
        Ok(Option::<Levels>::deserialize(from)?.map(|levels| levels.0))
    }
}
