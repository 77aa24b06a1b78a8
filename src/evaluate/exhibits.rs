//! A few test images with what the strongest attack makes of them, to be looked at.

use burn::tensor::Tensor;

use super::error::EvaluationError;
use super::result::{EvaluationResult, ImageRecord, Outcome};
use super::run::{Loaded, Passes, Plan, Planned, Targets};
use crate::classifier::Frozen;
use crate::data::LabeledImages;
use crate::parameter::Parameter;
use crate::pixels::{Budget, Distances, Norm};
use crate::rows::values;

/// A test image and what the strongest attack of a norm makes of it, with every budget, or an attack that no norm bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Exhibit {
    /// The image's short name.
    pub name: String,
    /// The slide or patient that it belongs to.
    pub group: String,
    /// Its true class.
    pub label: usize,
    /// The norm of the attack; `None` of a [semantic](crate::attack::Aim::Semantic) one.
    pub norm: Option<Norm>,
    /// The attack's label.
    pub attack: String,
    /// Channels, height and width.
    pub shape: [usize; 3],
    /// The original image in \[0,1\], channel by channel, row by row.
    pub original: Vec<f32>,
    /// What the classifier says to it.
    pub before: Answer,
    /// By rising budget; of an attack that looks for the smallest perturbation, or is semantic, the only one.
    pub versions: Vec<Version>,
}

/// An adversarial image, held to its budget as it is when it is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// How far the attack might go; `None` of an attack that looks for the smallest perturbation, or is semantic.
    pub budget: Option<Budget>,
    /// As the original.
    pub pixels: Vec<f32>,
    /// What the classifier says to it.
    pub after: Answer,
    /// How far it is from the original.
    pub distances: Distances,
}

/// What a classifier says to an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The class with the highest logit; `None` if a logit is NaN.
    pub prediction: Option<usize>,
    /// Softmax probability of that class; `None` if it cannot be computed.
    pub probability: Option<f64>,
}

impl Answer {
    fn from_logits(logits: &[f32]) -> Self {
        let prediction = Outcome::from_logits(logits).prediction;
        let probability = prediction.map(|class| {
            let away = |logit: &f32| (f64::from(*logit) - f64::from(logits[class])).exp();
            1.0 / logits.iter().map(away).sum::<f64>()
        });
        Self { prediction, probability: probability.filter(|p| p.is_finite()) }
    }
}

/// The kind of work that makes exhibits.
const EXHIBITS: &str = "exhibits";

/// So many exhibits of each norm: see [`Evaluation::exhibits`](super::Evaluation::exhibits).
pub(super) fn exhibits(
    victim: &Frozen,
    plan: &Plan<'_>,
    (data, result): (&dyn LabeledImages, &EvaluationResult),
    count: usize,
    passes: &Passes<'_, '_>,
) -> Result<Vec<Exhibit>, EvaluationError> {
    let planned = plan.attacks.iter().map(|planned| (&planned.label, planned.budgets.as_slice()));
    let ran = result.attacks.iter().map(|attack| (&attack.label, attack.budgets().collect::<Vec<_>>()));
    let same_attacks =
        planned.len() == ran.len() && planned.zip(ran).all(|((a, b), (c, d))| a == c && b == d);
    let named =
        |(p, record): (usize, &ImageRecord)| record.name == data.name(p) && record.label == data.label(p);
    let same = result.records.len() == data.len() && result.records.iter().enumerate().all(named);
    let wanted = "that of this evaluation on these images";
    Parameter::new("result", wanted, same_attacks && same, "another one").check()?;
    let semantic = plan.semantic.iter().map(|planned| &planned.label);
    let same_semantic = semantic.eq(result.semantic.iter().map(|attack| &attack.label));
    Parameter::new("result", wanted, same_semantic, "another one").check()?;
    let mut exhibits = Vec::new();
    for (norm, planned, positions) in chosen(plan, result, count) {
        passes.expect_more(EXHIBITS, positions.len(), 1.0);
        for position in positions {
            passes.go_on()?;
            let record = &result.records[position];
            let of = Loaded::new(data, victim, &[position]).targets(&[position])?;
            let [_, channels, height, width] = of.images.dims();
            exhibits.push(Exhibit {
                name: record.name.clone(),
                group: record.group.clone(),
                label: record.label,
                norm,
                attack: planned.label.clone(),
                shape: [channels, height, width],
                original: values(of.images.clone()),
                before: answer(victim, of.images.clone()),
                versions: versions(victim, planned, &of, passes)?,
            });
            passes.add(EXHIBITS, 1, true);
        }
    }
    Ok(exhibits)
}

/// An attack to be shown, with its norm and the images to show it on.
type Chosen<'p, 'e> = (Option<Norm>, &'p Planned<'e>, Vec<usize>);

/// The strongest attack of each norm with so many images, and the semantic attacks, which share as many.
fn chosen<'p, 'e>(plan: &'p Plan<'e>, result: &EvaluationResult, count: usize) -> Vec<Chosen<'p, 'e>> {
    let of_norm = |norm: Norm| {
        let strongest = strongest(result, norm)?;
        let ease = |image: &ImageRecord| ease(image, strongest, norm);
        Some((Some(norm), &plan.attacks[strongest], telling(result, count, ease)))
    };
    let bounded = result.worst_cases.iter().filter_map(|worst| of_norm(worst.norm));
    let each = count.div_ceil(plan.semantic.len().max(1));
    let unbounded = plan.semantic.iter().enumerate().map(|(attack, planned)| {
        let ease = |image: &ImageRecord| semantic_ease(image, attack);
        (None, planned, telling(result, each, ease))
    });
    bounded.chain(unbounded).collect()
}

/// Passes that an attack may take an image and be run again for a picture.
const DEAR: u64 = 2_000;

/// The attack of this norm that broke the most images over all its budgets; the earlier one of two. One that
/// takes very many passes an image, as black boxes do, only if no other broke any.
fn strongest(result: &EvaluationResult, norm: Norm) -> Option<usize> {
    let of_norm = (0..result.attacks.len()).filter(|&a| result.attacks[a].profile.norm() == Some(norm));
    let rank = |&a: &usize| {
        let attack = &result.attacks[a];
        let broken = attack.sweep.iter().map(|under| under.success.hits).sum::<usize>();
        let passes = attack.queries.forwards + attack.queries.gradients;
        (broken > 0 && passes <= DEAR * attack.images as u64, broken)
    };
    of_norm.rev().max_by_key(rank)
}

/// How easily an image falls: at which budget, and by how large a change; the largest budget if it does not.
type Ease = (usize, f64);

/// Of an attack in a norm; `None` if it did not attack the image.
fn ease(record: &ImageRecord, attack: usize, norm: Norm) -> Option<Ease> {
    let at = &record.attacks[attack].at;
    at.iter().find(|under| under.distances.is_some())?;
    let first = at.iter().position(|under| under.fell(record.label));
    let size = first.map_or(f64::INFINITY, |first| at[first].size(record.label, norm));
    Some((first.unwrap_or(usize::MAX), size))
}

/// Of a semantic attack, whose changes are the smaller the more alike the images are.
fn semantic_ease(record: &ImageRecord, attack: usize) -> Option<Ease> {
    let under = &record.semantic[attack];
    let distances = under.distances?;
    let change = 1.0 - f64::from(distances.ssim.unwrap_or(0.0));
    Some(if under.fell(record.label) { (0, change) } else { (usize::MAX, f64::INFINITY) })
}

/// Positions of the images that fall at the smallest budget, a class in turn from the positive one on; then
/// those that were attacked without success.
fn telling(
    result: &EvaluationResult,
    count: usize,
    ease: impl Fn(&ImageRecord) -> Option<Ease>,
) -> Vec<usize> {
    let found: Vec<Option<Ease>> = result.records.iter().map(ease).collect();
    let ease = |position: &usize| found[*position].unwrap_or((usize::MAX, f64::INFINITY));
    let attacked = |position: &usize| found[*position].is_some();
    let classes = (0..result.classes.len()).rev().map(|class| {
        let of_class = (0..result.records.len()).filter(|&p| result.records[p].label == class);
        let mut positions: Vec<usize> = of_class.filter(attacked).collect();
        positions.sort_by(|a, b| {
            let (a, b) = (ease(a), ease(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        positions
    });
    let classes: Vec<Vec<usize>> = classes.collect();
    let most = classes.iter().map(Vec::len).max().unwrap_or(0);
    let in_turn = (0..most).flat_map(|rank| classes.iter().filter_map(move |class| class.get(rank).copied()));
    let (mut fallen, held): (Vec<usize>, Vec<usize>) = in_turn.partition(|p| ease(p).0 < usize::MAX);
    fallen.extend(held);
    fallen.truncate(count);
    fallen
}

fn versions(
    victim: &Frozen,
    planned: &Planned<'_>,
    of: &Targets,
    passes: &Passes<'_, '_>,
) -> Result<Vec<Version>, EvaluationError> {
    let [_, channels, height, width] = of.images.dims();
    let moving = planned.jobs().into_iter().filter(|budget| !budget.is_some_and(Budget::is_zero));
    let version = |budget: Option<Budget>| {
        let at = budget.map(|budget| planned.attack.at(budget));
        let attack = at.as_deref().unwrap_or(planned.attack);
        let found = attack.perturb(victim, of.images.clone(), &of.goal);
        let found = found.map_err(|error| passes.ended(&planned.label, error))?;
        let images = of.crafted(found, budget)?.images;
        let (pixels, original) = (values(images.clone()), values(of.images.clone()));
        let distances = Distances::between(&original, &pixels, [channels, height, width]);
        Ok(Version { budget, after: answer(victim, images), distances, pixels })
    };
    moving.map(version).collect()
}

fn answer(victim: &Frozen, image: Tensor<4>) -> Answer {
    Answer::from_logits(&values(victim.logits(image)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_is_the_softmax_of_the_answer() {
        // 1 / (1 + e^-3 + e^-1), by hand; NaN is no answer.
        let answer = Answer::from_logits(&[2.0, -1.0, 1.0]);
        assert_eq!(answer.prediction, Some(0));
        assert!((answer.probability.unwrap() - 0.705384513).abs() < 1e-6);
        assert_eq!(Answer::from_logits(&[f32::NAN, 1.0]), Answer { prediction: None, probability: None });
        assert_eq!(Answer::from_logits(&[0.0, f32::INFINITY]).prediction, Some(1));
    }
}
