//! The worst of what several attacks, or several runs of one, make of each image.

use crate::attack::prelude::*;
use crate::attack::steps::{Tried, Worst};

/// What attacks of these profiles are together, one at least and each so many times, with the queries that
/// judge them.
pub(super) fn together(name: String, attacks: &[Profile], times: usize) -> Profile {
    let bounded = attacks.iter().find(|profile| matches!(profile.aim, Aim::Within(_)));
    let queries = attacks.iter().try_fold(Queries::forwards(attacks.len()), |sum, p| Some(sum + p.queries?));
    let mask = &attacks[0].mask;
    Profile {
        name,
        aim: bounded.unwrap_or(&attacks[0]).aim,
        goals: attacks.iter().map(|p| p.goals).find(|goals| *goals != Goals::Any).unwrap_or(Goals::Any),
        // Judging takes scores.
        access: attacks.iter().map(|p| p.access).fold(Access::Logits, Ord::min),
        steps: attacks.iter().map(|p| p.steps).sum::<Option<usize>>().map(|steps| times * steps),
        mask: mask.clone().filter(|_| attacks.iter().all(|p| p.mask == *mask)),
        queries: queries.map(|Queries { forwards, gradients }| {
            let times = times as u64;
            Queries { forwards: 1 + times * forwards, gradients: times * gradients }
        }),
    }
}

/// The worst of so many tries of each image that does not reach the goal as it is; the others come back as
/// they are.
///
/// Within a budget or a range of parameters a try has the images that stand by then. Where the smallest
/// perturbation is looked for, every try has all of them, and the smaller one is the worse.
pub(super) fn worst_try(
    task: &Task<'_>,
    aim: Aim,
    tries: usize,
    attempt: impl Fn(&Task<'_>, usize) -> (Profile, Result<Tensor<4>, AttackError>),
) -> Result<Tensor<4>, AttackError> {
    task.go_on()?;
    let worst = Worst(Tried::judged(task, task.images()));
    let all = matches!(aim, Aim::Smallest { .. }).then(|| worst.standing());
    worst.after(task, tries, all.as_deref(), |task, number| {
        let (attack, result) = attempt(task, number);
        let (result, sizes) = kept(task, &attack, result?)?;
        let mut tried = Tried::judged(task, result);
        if let Aim::Smallest { .. } = aim {
            flagged(&tried.reached, true).into_iter().for_each(|row| tried.scores[row] = -sizes[row]);
        }
        Ok(tried)
    })
}

/// What this attack made of the images, with the sizes of its changes; an error if no attack may return that: a breach
/// of the contract would pass for the worst case.
fn kept(task: &Task<'_>, attack: &Profile, result: Tensor<4>) -> Result<(Tensor<4>, Vec<f32>), AttackError> {
    let (images, shape) = (task.images(), task.images().dims());
    let within = attack.budget().map_or("[0,1]".into(), |budget| budget.to_string());
    let broken = |found: String| {
        let expected = format!("finite images {shape:?} within {within}");
        Err(AttackError::Other(format!("{}: expected {expected}, found {found}", attack.name)))
    };
    if result.dims() != shape {
        return broken(format!("{:?}", result.dims()));
    }
    let change = result.clone() - images.clone();
    let odd = change.clone().is_finite().bool_not();
    if odd.clone().bool_and(images.is_finite()).any().into_scalar::<bool>() {
        return broken("NaN or infinite pixels".into());
    }
    let change = change.mask_fill(odd, 0.0);
    // No norm measures a semantic perturbation, and no size of it counts.
    let sizes = attack.norm().map_or(vec![0.0; shape[0]], |norm| values(norm.measure(change)));
    let over = |size: &&f32| attack.budget().is_some_and(|budget| !budget.holds(f64::from(**size)));
    match sizes.iter().find(over) {
        Some(size) => broken(format!("a change of {size}")),
        None => Ok((result.clamp(0.0, 1.0), sizes)),
    }
}
