//! A task with a known answer: an adversarial point that certainly exists.

use burn::tensor::{Tensor, TensorData};

use super::tightest::Standing;
use crate::attack::{AttackError, Goal};
use crate::classifier::{Frozen, FrozenFeatures, predictions};
use crate::evaluate::EvaluationError;
use crate::evaluate::result::{About, Check, EvaluationResult};
use crate::evaluate::run::{Engine, Targets};
use crate::pixels::{Budget, Norm, changed, normal, uniform_in_ball};
use crate::random::{Generator, Purpose, RngExt, generator};
use crate::rows::{batch, values};

const ABOUT: About = About {
    name: "binarization test",
    matters: "With a head on the classifier's own features that tells one point on the border of the budget from those \
              inside, an adversarial image certainly exists. An attack that does not find it is too weak for these \
              features, and what it leaves of the real task is no sign of robustness.",
    source: "Zimmermann, Brendel, Tramèr & Carlini, Increasing confidence in adversarial robustness evaluations, \
             NeurIPS 2022",
};

const POINTS: Purpose = Purpose::named("binarization test");
/// Points inside, beside the image itself; the paper takes 999 in all.
const INNER: usize = 199;
/// How far they may be from it, of the budget.
const INSIDE: f64 = 0.95;
/// Points on the border, of which the first that a linear head can tell from those inside is taken.
const BORDER: usize = 10;
/// The share that a sound attack finds.
const FOUND: f64 = 0.95;
/// One image of a few is less than a share.
const CHANCE: usize = 1;

/// Whether the white boxes of several steps find points that certainly exist.
pub(super) fn check(
    engine: &mut Engine<'_, '_>,
    result: &EvaluationResult,
    attacked: &[usize],
    features: Option<&FrozenFeatures>,
) -> Result<Check, EvaluationError> {
    let Some(features) = features else {
        return Ok(ABOUT.not_applicable("it needs the classifier's features"));
    };
    let other = engine.noted("features", attacked, |_, targets| {
        let answers = predictions(features.logits(targets.images.clone().to_device(features.device())));
        Ok(answers
            .iter()
            .zip(targets.goal.classes())
            .map(|(&answer, &label)| answer as i64 != label)
            .collect())
    })?;
    let other = other.iter().filter(|other| **other).count();
    if other > 0 {
        let of = attacked.len();
        let seen =
            format!("the features given answer otherwise than the classifier at {other} of {of} images");
        return Ok(ABOUT.not_applicable(&seen));
    }
    let mut seen = Vec::new();
    let mut suspicious = false;
    for standing in Standing::of_iterative(result, attacked) {
        // The point that exists changes the whole image.
        if standing.budget.norm() == Norm::L0 || standing.result.profile.mask.is_some() {
            continue;
        }
        let run = format!("binarized {}", standing.attack);
        let found = engine.noted(&run, attacked, |engine, targets| {
            (0..targets.rows().len())
                .map(|row| found(engine, &standing, &targets.only(row), features))
                .collect()
        })?;
        let tried: Vec<bool> = found.into_iter().flatten().collect();
        let (all, hits) = (tried.len(), tried.iter().filter(|found| **found).count());
        suspicious |= (hits as f64) < FOUND * all as f64 && all - hits > CHANCE;
        if all > 0 {
            seen.push(format!("{} finds {hits} of {all} points that certainly exist", standing.name()));
        }
    }
    if seen.is_empty() {
        let missing = "it needs check images whose features a linear head can tell apart, and a white-box attack of \
                       several steps on two classes within a budget in Linf, L2 or L1";
        return Ok(ABOUT.not_applicable(missing));
    }
    Ok(ABOUT.check(suspicious, seen.join("; ")))
}

/// Whether the attack finds the point that exists around one image; `None` if there is no head, or if the attack takes
/// no two classes.
fn found(
    engine: &Engine<'_, '_>,
    standing: &Standing<'_>,
    target: &Targets,
    features: &FrozenFeatures,
) -> Result<Option<bool>, EvaluationError> {
    engine.passes.go_on()?;
    let budget = standing.budget;
    let Some(binary) = binarized(features, target, budget) else { return Ok(None) };
    let (own, theirs) = (binary.watch().clone(), engine.victim.watch().clone());
    binary.watch().on_step(move |_| {
        if theirs.is_stopped() {
            own.stop();
        }
    });
    let attack = engine.plan.attacks[standing.attack].attack.at(budget);
    let goal = Goal::untargeted([0]).with_indices(vec![target.goal.index(0)]);
    let result = attack.perturb(&binary, target.images.clone().to_device(binary.device()), &goal);
    // The callback holds the watch that holds it.
    binary.watch().on_step(|_| {});
    match result {
        Err(AttackError::Parameter(_)) => Ok(None),
        Err(error) => Err(engine.passes.ended(&standing.result.label, error)),
        Ok(result) => {
            let images = target.crafted(result, Some(budget))?.images;
            Ok(Some(binary.predict(images.to_device(binary.device())) == [1]))
        }
    }
}

/// The features with a linear head that is 1 at a point on the border around the image and 0 at all points drawn inside;
/// `None` if no point drawn on the border can be told from them.
fn binarized(features: &FrozenFeatures, target: &Targets, budget: Budget) -> Option<Frozen> {
    let image = target.rows().next().expect("one image");
    let mut generator = generator(POINTS, 0, &[target.goal.index(0)]);
    let inner = (0..INNER).flat_map(|_| {
        let mut change = vec![0f32; image.len()];
        uniform_in_ball(budget.norm(), INSIDE * budget.size(), &mut change, &mut generator);
        changed(image, change.into_iter().map(f64::from))
    });
    let mut points = [image.to_vec(), inner.collect()].concat();
    points.extend((0..BORDER).flat_map(|_| changed(image, on_border(budget, image.len(), &mut generator))));
    let points = batch(points, &target.images).to_device(features.device());
    let features_of = features.features(points);
    let [_, size] = features_of.dims();
    let (head, threshold, scale) = head(&values(features_of), size)?;
    let (features, device) = (features.clone(), features.device());
    let head = Tensor::<2>::from_data(TensorData::new(head, [size, 1]), device);
    Some(Frozen::from_fn(2, device, move |images| {
        let score = (features.features(images).matmul(head.clone()) - threshold) * scale;
        Tensor::cat(vec![score.clone().neg(), score], 1)
    }))
}

/// A point at the whole distance: a corner of the box in L-infinity, else any direction.
fn on_border(budget: Budget, size: usize, generator: &mut Generator) -> Vec<f64> {
    let mut point = vec![0f32; size];
    match budget.norm() {
        Norm::Linf => point.fill_with(|| if generator.random() { 1.0 } else { -1.0 }),
        _ => _ = normal(&mut point, generator),
    }
    let point: Vec<f64> = point.into_iter().map(f64::from).collect();
    let length = budget.norm().measure_values(&point);
    point.into_iter().map(|value| value * budget.size() / length).collect()
}

/// The direction from the inner points to one on the border in features of equal variance, half way between that point
/// and the nearest inner one, and the scale at which scores of both are one apart.
fn head(features: &[f32], size: usize) -> Option<(Vec<f32>, f64, f64)> {
    let points: Vec<Vec<f64>> =
        features.chunks(size).map(|point| point.iter().map(|&value| f64::from(value)).collect()).collect();
    let (inner, border) = points.split_at(INNER + 1);
    let mean_of = |of: &dyn Fn(&[f64]) -> f64| inner.iter().map(|p| of(p)).sum::<f64>() / inner.len() as f64;
    let mean: Vec<f64> = (0..size).map(|i| mean_of(&|point| point[i])).collect();
    let variance: Vec<f64> = (0..size).map(|i| mean_of(&|point| (point[i] - mean[i]).powi(2))).collect();
    let usual = variance.iter().sum::<f64>() / size as f64;
    border.iter().find_map(|point| {
        // Shrunk, so that a feature that does not vary does not decide.
        let weight = |i: usize| (point[i] - mean[i]) / (0.9 * variance[i] + 0.1 * usual);
        let weights: Vec<f32> = (0..size).map(|i| weight(i) as f32).collect();
        let score = |p: &Vec<f64>| weights.iter().zip(p).map(|(&w, p)| f64::from(w) * p).sum::<f64>();
        let (nearest, here) = (inner.iter().map(score).fold(f64::NEG_INFINITY, f64::max), score(point));
        // Wider than the rounding of single precision.
        let gap = here - nearest;
        (gap > 1e-4 * here.abs()).then(|| (weights, (here + nearest) / 2.0, 1.0 / gap))
    })
}
