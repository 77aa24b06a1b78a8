//! All checks, and the further attacks that some of them need.

use std::collections::BTreeSet;

use super::effort::Doubled;
use super::tightest::tightest;
use super::{
    access, binarization, budget, effort, gradients, path, randomness, rounding, semantic, slides, stability,
    transfer,
};
use crate::attack::Attack;
use crate::classifier::FrozenFeatures;
use crate::evaluate::EvaluationError;
use crate::evaluate::result::{AttackRecord, AttackResult, Check, EvaluationResult, ImageRecord};
use crate::evaluate::run::{Engine, Planned};
use crate::pixels::{Budget, Epsilon, Norm};

/// A perturbation found with more effort counts as smaller from this factor on.
const SMALLER: f64 = 0.95;

/// Every check of this evaluation; `count` images are attacked again.
pub(crate) fn all(
    engine: &mut Engine<'_, '_>,
    result: &EvaluationResult,
    count: usize,
    training_groups: Option<&BTreeSet<String>>,
    features: Option<&FrozenFeatures>,
) -> Result<Vec<Check>, EvaluationError> {
    let everyone: Vec<usize> = (0..result.records.len()).collect();
    let right: Vec<usize> = everyone.iter().copied().filter(|&p| result.records[p].is_right()).collect();
    let (asked, attacked) = (spread(&everyone, count), spread(&right, count));
    let plan = engine.plan;
    let again = if attacked.is_empty() { 0..0 } else { 0..plan.attacks.len() };
    let iterative: Vec<usize> = again.clone().filter(|&a| access::is_iterative(&result.attacks[a])).collect();
    let stronger: Vec<(usize, Box<dyn Attack>)> =
        again.filter_map(|a| Some((a, plan.attacks[a].attack.stronger()?))).collect();
    // Without a bound, but held to a part of the image, an attack need not break everything.
    let whole: Vec<usize> =
        iterative.into_iter().filter(|&a| plan.attacks[a].profile.mask.is_none()).collect();
    let bounded = whole.iter().filter(|&&a| !plan.attacks[a].searches());
    let runs = bounded.map(|&a| (without_bound(a), a)).chain(stronger.iter().map(|&(a, _)| (doubled(a), a)));
    runs.for_each(|(run, a)| engine.passes.expect_more(&run, attacked.len(), plan.attacks[a].cost()));

    let asked = if asked.is_empty() { None } else { Some(engine.ask_twice(&asked)?) };
    let unbounded = unbounded(engine, result, &whole, &attacked)?;
    let mut more = Vec::new();
    for (attack, stronger) in &stronger {
        more.extend(double(engine, result, *attack, stronger.as_ref(), &attacked)?);
    }
    let paths = path::recorded(engine, result, &attacked)?;
    Ok(vec![
        gradients::check(result),
        stability::check(engine, result, &attacked)?,
        randomness::random(asked),
        randomness::probabilities(asked),
        budget::rising(result),
        unbounded,
        access::black_box(result),
        access::one_step(result),
        path::silent(&paths),
        path::incomplete(&paths),
        effort::check(&more),
        transfer::check(engine, result, &attacked)?,
        binarization::check(engine, result, &attacked, features)?,
        semantic::grid(result),
        semantic::range_of_each(result),
        rounding::check(result),
        slides::check(result, training_groups),
    ])
}

/// `count` of these positions, evenly spread: data sets list class after class.
fn spread(positions: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(positions.len());
    (0..count).map(|i| positions[i * positions.len() / count]).collect()
}

/// These attacks with the whole of \[0,1\] as their budget.
fn unbounded(
    engine: &mut Engine<'_, '_>,
    result: &EvaluationResult,
    attacks: &[usize],
    positions: &[usize],
) -> Result<Check, EvaluationError> {
    let plan = engine.plan;
    let (searches, bounded): (Vec<usize>, Vec<usize>) =
        attacks.iter().partition(|&&a| plan.attacks[a].searches());
    let mut names = Vec::new();
    let mut found: Vec<Vec<Option<AttackRecord>>> = Vec::new();
    // A search without a bound has been there already.
    for a in searches.into_iter().filter(|_| !result.only_survivors) {
        names.push(result.attacks[a].label.as_str());
        found.push(positions.iter().map(|&p| result.records[p].attacks[a].searched).collect());
    }
    for a in bounded {
        let whole = diameter(norm_of(&result.attacks[a]), engine.values()?);
        let (run, budgets) = (without_bound(a), vec![whole]);
        let records = engine.extra(&Planned { run, budgets, ..plan.attacks[a].clone() }, positions)?;
        names.push(&result.attacks[a].label);
        found.push(records.into_iter().map(Some).collect());
    }
    let survives = |&(i, &p): &(usize, &usize)| {
        let label = result.records[p].label;
        found.iter().all(|records| records[i].is_none_or(|record| record.outcome.is(label)))
    };
    let left = positions.iter().enumerate().filter(survives).count();
    Ok(budget::unbounded(&names, positions.len(), left))
}

/// What an attack without a bound is called in the journal.
fn without_bound(attack: usize) -> String {
    format!("unbounded {attack}")
}

/// What an attack with twice its effort is called in the journal.
fn doubled(attack: usize) -> String {
    format!("doubled {attack}")
}

/// The norm of an attack of the result, each of which has one.
fn norm_of(attack: &AttackResult) -> Norm {
    attack.profile.norm().expect("an attack with a norm")
}

/// The largest distance between two images of so many values in \[0,1\].
fn diameter(norm: Norm, values: usize) -> Budget {
    Budget::new(norm, Epsilon::unit(norm.measure_values(&vec![1.0; values])))
}

/// The attack with twice its effort, where it leaves about half of the images.
fn double(
    engine: &mut Engine<'_, '_>,
    result: &EvaluationResult,
    attack: usize,
    stronger: &dyn Attack,
    positions: &[usize],
) -> Result<Option<Doubled>, EvaluationError> {
    let (of, planned) = (&result.attacks[attack], engine.plan.attacks[attack].clone());
    let searches = planned.searches();
    // A search has no budget: it is judged by what it found.
    let tightest = tightest(&of.sweep, result.clean.metrics.accuracy.hits).filter(|_| !searches);
    if tightest.is_none() && !searches {
        engine.passes.add(&doubled(attack), positions.len(), false);
        return Ok(None);
    }
    let (budget, norm) = (tightest.map(|at| of.sweep[at].budget), norm_of(of));
    let (run, budgets) = (doubled(attack), budget.into_iter().collect());
    let records = engine.extra(&Planned { attack: stronger, run, budgets, ..planned }, positions)?;
    let gained = |image: &ImageRecord, after: &AttackRecord| {
        let before = match tightest {
            Some(at) => Some(image.attacks[attack].at[at]),
            None => image.attacks[attack].searched,
        };
        // With a budget an image is broken or not, however near.
        let open = before.filter(|b| b.distances.is_some() && (searches || b.outcome.is(image.label)));
        open.is_some_and(|before| after.size(image.label, norm) < SMALLER * before.size(image.label, norm))
    };
    let gained =
        positions.iter().zip(&records).filter(|&(&p, after)| gained(&result.records[p], after)).count();
    Ok(Some(Doubled { attack: of.label.clone(), budget, images: positions.len(), gained }))
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
