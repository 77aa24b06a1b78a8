//! All checks, and the further attacks that some of them need.

use super::effort::Doubled;
use super::epsilon::Survivors;
use super::{Check, access, effort, epsilon, gradients, randomness, slides};
use crate::attack::Norm;
use crate::evaluate::budget::shown;
use crate::evaluate::engine::Engine;
use crate::evaluate::{AttackRecord, AttackResult, Battery, Evaluation, EvaluationError};
use crate::pixels::Epsilon;

/// A perturbation found with more effort counts as smaller from this factor on.
const SMALLER: f64 = 0.95;

/// Every check of this evaluation.
pub(in crate::evaluate) fn all(
    evaluation: &Evaluation<'_>,
    engine: &mut Engine<'_, '_>,
    battery: &Battery,
) -> Result<Vec<Check>, EvaluationError> {
    let everyone: Vec<usize> = (0..battery.records.len()).collect();
    let right: Vec<usize> =
        everyone.iter().copied().filter(|&p| battery.records[p].clean.is(battery.records[p].label)).collect();
    let asked = spread(&everyone, evaluation.check_images);
    let attacked = spread(&right, evaluation.check_images);
    let runs = if attacked.is_empty() { (Vec::new(), Vec::new()) } else { runs(battery, engine) };
    engine.expect_more((runs.0.len() + runs.1.len()) * attacked.len());

    let asked = if asked.is_empty() { None } else { Some(engine.ask_twice(&asked)?) };
    let survivors = unbounded(engine, battery, &runs.0, &attacked)?;
    let mut doubled = Vec::new();
    for &attack in &runs.1 {
        doubled.extend(double(engine, battery, attack, &attacked)?);
    }
    Ok(vec![
        gradients::check(battery),
        randomness::random(asked),
        randomness::probabilities(asked),
        epsilon::rising(battery),
        epsilon::unbounded(survivors),
        access::black_box(battery),
        access::one_step(battery),
        effort::check(&doubled),
        slides::check(battery, evaluation.training_groups.as_ref()),
    ])
}

/// The attacks to run without bound, and those to run with twice the effort.
fn runs(battery: &Battery, engine: &Engine<'_, '_>) -> (Vec<usize>, Vec<usize>) {
    let attacks = &battery.attacks;
    let unbounded = (0..attacks.len())
        .filter(|&a| access::is_iterative(&attacks[a]) && !engine.plan.attacks[a].searches)
        .collect();
    let doubled =
        (0..attacks.len()).filter(|&a| engine.plan.attacks[a].attack.stronger().is_some()).collect();
    (unbounded, doubled)
}

/// `count` of these positions, evenly spread: data sets list class after class.
fn spread(positions: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(positions.len());
    (0..count).map(|i| positions[i * positions.len() / count]).collect()
}

/// The attacks with the whole of \[0,1\] as their budget.
fn unbounded(
    engine: &mut Engine<'_, '_>,
    battery: &Battery,
    attacks: &[usize],
    positions: &[usize],
) -> Result<Option<Survivors>, EvaluationError> {
    if positions.is_empty() {
        return Ok(None);
    }
    let right = |record: &AttackRecord, p: usize| record.outcome.is(battery.records[p].label);
    let mut left: Vec<bool> = vec![true; positions.len()];
    let mut names = Vec::new();
    // A search without a bound has been there already.
    for (a, attack) in battery.attacks.iter().enumerate().filter(|(_, a)| access::is_iterative(a)) {
        if engine.plan.attacks[a].searches && !battery.only_survivors {
            names.push(attack.label.clone());
            for (left, &p) in left.iter_mut().zip(positions) {
                *left &= engine.searched(a, p).is_none_or(|record| right(&record, p));
            }
        }
    }
    for &a in attacks {
        let diameter = diameter(battery.attacks[a].norm, engine.values()?);
        let attack = engine.plan.attacks[a].attack.with_epsilon(Epsilon::unit(diameter));
        let records = engine.extra(&format!("unbounded {a}"), attack.as_ref(), diameter, positions)?;
        names.push(battery.attacks[a].label.clone());
        for ((left, record), &p) in left.iter_mut().zip(records).zip(positions) {
            *left &= right(&record, p);
        }
    }
    let left = left.into_iter().filter(|left| *left).count();
    Ok((!names.is_empty()).then_some(Survivors { attacks: names, images: positions.len(), left }))
}

/// The largest distance between two images of so many values in \[0,1\].
fn diameter(norm: Norm, values: usize) -> f64 {
    match norm {
        Norm::Linf => 1.0,
        Norm::L2 => (values as f64).sqrt(),
        Norm::L1 | Norm::L0 => values as f64,
    }
}

/// The attack with twice its effort, where it leaves about half of the images.
fn double(
    engine: &mut Engine<'_, '_>,
    battery: &Battery,
    attack: usize,
    positions: &[usize],
) -> Result<Option<Doubled>, EvaluationError> {
    let result = &battery.attacks[attack];
    let Some(stronger) = engine.plan.attacks[attack].attack.stronger() else { return Ok(None) };
    let right = |record: &AttackRecord, p: usize| record.outcome.is(battery.records[p].label);
    let run = format!("doubled {attack}");
    let (images, name) = (positions.len(), result.label.clone());
    if engine.plan.attacks[attack].searches {
        let records = engine.extra(&run, stronger.as_ref(), f64::INFINITY, positions)?;
        let size = |record: &AttackRecord, p: usize| match (right(record, p), record.distances) {
            (false, Some(distances)) => distances.in_norm(result.norm),
            _ => f64::INFINITY,
        };
        let gained = positions.iter().zip(&records).filter(|&(&p, record)| {
            let before = engine.searched(attack, p).map(|before| size(&before, p));
            before.is_some_and(|before| size(record, p) < SMALLER * before)
        });
        return Ok(Some(Doubled { attack: name, at: String::new(), images, gained: gained.count() }));
    }
    let Some(budget) = tightest(result, battery.clean.metrics.accuracy.hits) else { return Ok(None) };
    let epsilon = result.sweep[budget].under.epsilon;
    let stronger = stronger.with_epsilon(epsilon);
    let records = engine.extra(&run, stronger.as_ref(), epsilon.value(), positions)?;
    let left = |p: usize| {
        let before = &battery.records[p].attacks[attack].at[budget];
        before.distances.is_some() && right(before, p)
    };
    let gained = positions.iter().zip(&records).filter(|&(&p, record)| left(p) && !right(record, p)).count();
    Ok(Some(Doubled {
        attack: name,
        at: format!(" at epsilon {}", shown(result.norm, epsilon)),
        images,
        gained,
    }))
}

/// The budget that leaves nearest to half of the images: at the ends there is nothing to gain.
fn tightest(result: &AttackResult, right: usize) -> Option<usize> {
    (0..result.sweep.len())
        .filter(|&b| result.sweep[b].under.epsilon != Epsilon::ZERO)
        .min_by_key(|&b| (2 * result.sweep[b].under.metrics.accuracy.hits).abs_diff(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_images_cover_the_whole_list() {
        assert_eq!(spread(&[3, 4, 5, 6, 7, 8], 3), [3, 5, 7]);
        assert_eq!(spread(&[3, 4], 5), [3, 4]);
        assert_eq!(spread(&[], 5), Vec::<usize>::new());
        assert_eq!(spread(&[1], 0), Vec::<usize>::new());
    }
}
