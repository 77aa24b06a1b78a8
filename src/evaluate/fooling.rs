//! How often an attack changes the answer, over all images: the figure that universal perturbations are
//! reported by.

use serde::{Deserialize, Serialize};

use super::error::EvaluationError;
use super::result::{Flip, Outcome};
use super::run::check_data;
use crate::attack::{Attack, Goal};
use crate::classifier::Frozen;
use crate::data::LabeledImages;
use crate::parameter::Parameter;
use crate::rows::values;
use crate::statistics::Proportion;

/// How often an attack changes the answer.
///
/// An [`Evaluation`](super::Evaluation) attacks the images that were right, one by one. The papers on
/// universal perturbations report the *fooling rate* instead, the share of all images whose prediction
/// changes, whether it was right or not; both stand here, and every pair of classes apart, as malignant to
/// benign is the error that harms.
///
/// ```
/// use histoguard::attack::UniversalPerturbation;
/// use histoguard::data::TensorSet;
/// use histoguard::evaluate::Fooling;
/// use histoguard::prelude::*;
///
/// let device = Device::default();
/// let victim = Frozen::from_fn(2, &device, |x| {
///     let bright = x.mean_dims(&[1, 2, 3]).reshape([-1, 1]) - 0.5;
///     Tensor::cat(vec![bright.clone().neg(), bright], 1)
/// });
/// // 0.52 and 0.45 become dark, or stay so; the third was never right.
/// let images = Tensor::cat([0.52, 0.45, 0.6].map(|x| Tensor::full([1, 1, 2, 2], x, &device)).into(), 0);
/// let images = TensorSet::new(images, vec![1, 0, 0], vec!["benign".into(), "malignant".into()])?;
/// let fooling = Fooling::of(&victim, &Fgsm::new(Budget::linf(Epsilon::unit(0.03))), &images, 2)?;
/// assert_eq!(fooling.changed.to_string(), "33.3 % [6.1, 79.2] (1/3)");
/// assert_eq!((fooling.broken.hits, fooling.broken.total), (1, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fooling {
    /// By predictions: images with another answer than before, of all.
    pub changed: Proportion,
    /// By labels: images that are wrong afterwards, of those that were right.
    pub broken: Proportion,
    /// The same for each pair of classes: of the true class and right before, and taken for the other one
    /// afterwards.
    pub flips: Vec<Flip>,
}

impl Fooling {
    /// Attacks all these images, away from their labels, so many at a time.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`]: no image, a batch size of 0, an image that cannot be read, or an attack that
    /// refuses or was stopped.
    pub fn of(
        victim: &Frozen,
        attack: &dyn Attack,
        data: &dyn LabeledImages,
        batch_size: usize,
    ) -> Result<Self, EvaluationError> {
        Parameter::at_least("batch size", batch_size, 1).check()?;
        check_data(data, [victim])?;
        let classes = victim.num_classes();
        let mut seen = Vec::with_capacity(data.len());
        let all: Vec<usize> = (0..data.len()).collect();
        for positions in all.chunks(batch_size) {
            let batch = data.batch(positions, victim.device())?;
            let goal = Goal::untargeted(batch.labels).with_indices(batch.indices);
            let moved = attack
                .perturb(victim, batch.images.clone(), &goal)
                .map_err(|source| EvaluationError::Attack { attack: attack.profile().name, source })?;
            let answers = |images| -> Vec<Option<usize>> {
                let logits = values(victim.logits(images));
                logits.chunks(classes).map(|logits| Outcome::from_logits(logits).prediction).collect()
            };
            let (before, after) = (answers(batch.images), answers(moved));
            let labels = positions.iter().map(|&position| data.label(position));
            seen.extend(labels.zip(before.into_iter().zip(after)).map(|(label, (before, after))| Seen {
                label,
                before,
                after,
            }));
        }
        Ok(Self::over(&seen, data.classes()))
    }

    fn over(seen: &[Seen], classes: &[String]) -> Self {
        let right: Vec<&Seen> = seen.iter().filter(|seen| seen.before == Some(seen.label)).collect();
        let count = |hits: usize, of: usize| Proportion::new(hits, of);
        let of_class = |class| right.iter().filter(move |seen| seen.label == class);
        let pairs = (0..classes.len()).flat_map(|from| (0..classes.len()).map(move |to| (from, to)));
        let flip = |(from, to): (usize, usize)| Flip {
            from: classes[from].clone(),
            to: classes[to].clone(),
            images: count(
                of_class(from).filter(|seen| seen.after == Some(to)).count(),
                of_class(from).count(),
            ),
        };
        Self {
            changed: count(seen.iter().filter(|seen| seen.before != seen.after).count(), seen.len()),
            broken: count(right.iter().filter(|seen| seen.after != Some(seen.label)).count(), right.len()),
            flips: pairs.filter(|(from, to)| from != to).map(flip).collect(),
        }
    }
}

/// An image's class, and what the classifier says before and after; `None` where a logit is NaN.
struct Seen {
    label: usize,
    before: Option<usize>,
    after: Option<usize>,
}
