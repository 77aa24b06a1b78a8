//! How often a patch succeeds, over places and scales.

use serde::{Deserialize, Serialize};

use super::error::EvaluationError;
use super::result::Outcome;
use super::run::check_data;
use crate::attack::{Attack, Goal, Patch, Places};
use crate::classifier::Frozen;
use crate::data::LabeledImages;
use crate::parameter::{self, Parameter};
use crate::rows::values;
use crate::statistics::Proportion;

/// How often a patch succeeds, at each scale and over several places of each image.
///
/// Counted are images whose answer the patch can change for the worse: towards a class those that neither
/// belong to it nor are taken for it anyway, away from the labels those that are right. Beside it belongs the
/// same of a [random](Patch::random) patch of the same seed, which hides the same pixels: what that one
/// achieves is no merit of the learned one.
///
/// ```
/// use histoguard::attack::{Patch, PatchShape, Places};
/// use histoguard::data::TensorSet;
/// use histoguard::evaluate::{PatchSuccess, PatchTrial};
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// let origin = histoguard::attack::Origin::new("black square", serde_json::json!({}));
/// let black = Tensor::zeros([1, 4, 4], &device);
/// let patch = Patch::new(black, PatchShape::Square, [1, 8, 8], Places::default(), 0, origin)?;
/// // The first is dark anyway.
/// let images = Tensor::cat([0.1, 0.6, 0.9].map(|x| Tensor::full([1, 1, 8, 8], x, &device)).into(), 0);
/// let images = TensorSet::new(images, vec![0, 1, 1], vec!["dark".into(), "bright".into()])?;
/// let trial = PatchTrial { target: Some(0), scales: vec![0.1, 0.6], places: 3, batch_size: 2 };
/// let found = PatchSuccess::of(&victim, &patch, &images, &trial)?;
/// assert_eq!((found.scales[0].images.hits, found.scales[0].images.total), (0, 2));
/// assert_eq!((found.scales[1].images.hits, found.scales[1].images.total), (1, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchSuccess {
    /// The class that images are to be taken for; `None` for any but their own.
    pub target: Option<String>,
    /// At each scale.
    pub scales: Vec<AtScale>,
}

/// What a patch achieves at one scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtScale {
    /// Its side, as a share of the images' shorter edge; `None` for the patch's own scales or location.
    pub scale: Option<f64>,
    /// Images with another answer, in one place each.
    pub images: Proportion,
    /// Share of all places in all images; `None` without an image.
    pub places: Option<f64>,
    /// The same for each class that images come from.
    pub classes: Vec<OfClass>,
}

/// What a patch achieves on the images of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfClass {
    /// The class.
    pub class: String,
    /// Images with another answer, in one place each.
    pub images: Proportion,
    /// Share of all places in all images; `None` without an image.
    pub places: Option<f64>,
}

/// What is tried with a patch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchTrial {
    /// The class that images are to be taken for; `None` for any but their own.
    pub target: Option<usize>,
    /// Sides of the patch, as shares of the images' shorter edge; none for the patch's own scales or
    /// location.
    pub scales: Vec<f64>,
    /// Places of each image, at least 1.
    pub places: usize,
    /// Images at a time, at least 1.
    pub batch_size: usize,
}

/// An image that counts, and the places in which the patch succeeded on it.
struct Tried {
    label: usize,
    succeeded: Vec<bool>,
}

impl PatchSuccess {
    /// Lays the patch on all these images, so many at a time.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`]: no image, a number of 0, a target that is no class, scales that are not above 0
    /// and up to 1 or that stand beside a location, an image that cannot be read, or a patch for images of
    /// another size.
    pub fn of(
        victim: &Frozen,
        patch: &Patch,
        data: &dyn LabeledImages,
        trial: &PatchTrial,
    ) -> Result<Self, EvaluationError> {
        let (classes, target) = (data.classes(), trial.target);
        let free = patch.places().location.is_none() || trial.scales.is_empty();
        let found = target.map_or_else(String::new, |target| target.to_string());
        let known = target.is_none_or(|target| target < classes.len());
        parameter::check([
            Parameter::at_least("batch size", trial.batch_size, 1),
            Parameter::at_least("places", trial.places, 1),
            Parameter::new("target", format!("a class below {}", classes.len()), known, found),
            Parameter::new("scales", "none for a patch with a location", free, format!("{:?}", trial.scales)),
        ])?;
        check_data(data, [victim])?;
        let scales: Vec<Option<f64>> = match trial.scales.as_slice() {
            [] => vec![None],
            scales => scales.iter().copied().map(Some).collect(),
        };
        let sized = |scale: &Option<f64>| {
            let places = patch.places();
            let scaled = |scale| Places { scale_min: scale, scale_max: scale, ..places };
            patch.at_places(scale.map_or(places, scaled))
        };
        let patches: Vec<Patch> = scales
            .iter()
            .map(sized)
            .collect::<Result<_, _>>()
            .map_err(|source| EvaluationError::Attack { attack: patch.profile().name, source })?;
        let mut tried: Vec<Vec<Tried>> = scales.iter().map(|_| Vec::new()).collect();
        let all: Vec<usize> = (0..data.len()).collect();
        for positions in all.chunks(trial.batch_size) {
            for (patch, tried) in patches.iter().zip(&mut tried) {
                tried.extend(on_batch(victim, patch, data, positions, trial)?);
            }
        }
        let at = scales.into_iter().zip(&tried).map(|(scale, tried)| {
            let everyone: Vec<&Tried> = tried.iter().collect();
            let of_class = |(class, name): (usize, &String)| {
                let own: Vec<&Tried> = tried.iter().filter(|tried| tried.label == class).collect();
                OfClass { class: name.clone(), images: images(&own), places: places(&own) }
            };
            let apart = classes.iter().enumerate().filter(|(class, _)| Some(*class) != target);
            let classes = apart.map(of_class).collect();
            AtScale { scale, images: images(&everyone), places: places(&everyone), classes }
        });
        Ok(Self { target: target.map(|target| classes[target].clone()), scales: at.collect() })
    }
}

/// The images of a batch that count, in all places.
fn on_batch(
    victim: &Frozen,
    patch: &Patch,
    data: &dyn LabeledImages,
    positions: &[usize],
    trial: &PatchTrial,
) -> Result<Vec<Tried>, EvaluationError> {
    let batch = data.batch(positions, victim.device())?;
    let labels: Vec<usize> = positions.iter().map(|&position| data.label(position)).collect();
    let goal = Goal::untargeted(labels.clone()).with_indices(batch.indices);
    let answers = |images| -> Vec<Option<usize>> {
        let logits = values(victim.logits(images));
        logits.chunks(victim.num_classes()).map(|logits| Outcome::from_logits(logits).prediction).collect()
    };
    let before = answers(batch.images.clone());
    let mut after = Vec::new();
    for place in 0..trial.places as u64 {
        let moved = patch
            .with_seed(patch.seed().wrapping_add(place))
            .perturb(victim, batch.images.clone(), &goal)
            .map_err(|source| EvaluationError::Attack { attack: patch.profile().name, source })?;
        after.push(answers(moved));
    }
    let counts = |row: &usize| match trial.target {
        Some(target) => labels[*row] != target && before[*row] != Some(target),
        None => before[*row] == Some(labels[*row]),
    };
    let succeeds = |answer: Option<usize>, label: usize| match trial.target {
        Some(target) => answer == Some(target),
        None => answer != Some(label),
    };
    let tried = |row: usize| Tried {
        label: labels[row],
        succeeded: after.iter().map(|answers| succeeds(answers[row], labels[row])).collect(),
    };
    Ok((0..positions.len()).filter(counts).map(tried).collect())
}

fn images(tried: &[&Tried]) -> Proportion {
    Proportion::new(tried.iter().filter(|tried| tried.succeeded[0]).count(), tried.len())
}

fn places(tried: &[&Tried]) -> Option<f64> {
    let all = tried.iter().flat_map(|tried| &tried.succeeded);
    let (hits, count) = (all.clone().filter(|succeeded| **succeeded).count(), all.count());
    (count > 0).then(|| hits as f64 / count as f64)
}
