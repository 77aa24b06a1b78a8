//! Which group of images goes to which side.

use std::collections::BTreeMap;

use rand::Rng;
use rand::seq::SliceRandom;

use crate::data::Sample;
use crate::parameter::{Parameter, ParameterError};

/// Training, validation, test.
pub(super) const SIDES: [&str; 3] = ["train", "validation", "test"];

/// Orders tried before the one nearest to the wanted fractions is taken.
const TRIES: usize = 64;

/// Shares of each side as the documented range has them: above 0, sum 1.
pub(super) fn check_fractions(fractions: [f64; 3]) -> Result<(), ParameterError> {
    let fits = fractions.iter().all(|&f| f > 0.0) && (fractions.iter().sum::<f64>() - 1.0).abs() < 1e-6;
    let range = "three shares above 0 that sum to 1";
    Parameter::new("fractions", range, fits, format!("{fractions:?}")).check()
}

/// Positions of the images, shared out one by one: of every class the shares rounded down, the rest to the
/// last side.
pub(in crate::data) fn by_image(
    samples: &[Sample],
    classes: usize,
    fractions: [f64; 3],
    rng: &mut impl Rng,
) -> [Vec<usize>; 3] {
    let mut sides: [Vec<usize>; 3] = Default::default();
    for class in 0..classes {
        let mut members: Vec<usize> = (0..samples.len()).filter(|&p| samples[p].label == class).collect();
        members.sort_by(|&a, &b| samples[a].name.cmp(&samples[b].name));
        members.shuffle(rng);
        // 0.29 of 100 is 28.999... in binary: what is a whole number on paper must not be rounded down.
        let share = |fraction: f64| (members.len() as f64 * fraction + 1e-9).floor() as usize;
        let (train, validation) = (share(fractions[0]), share(fractions[1]));
        let (first, rest) = members.split_at(train.min(members.len()));
        let (second, third) = rest.split_at(validation.min(rest.len()));
        for (side, part) in sides.iter_mut().zip([first, second, third]) {
            side.extend_from_slice(part);
        }
    }
    sides
}

/// A group of images and how many of each class are in it.
struct Group {
    members: Vec<usize>,
    counts: Vec<usize>,
}

/// Positions of the images, whole groups at a time, as near to the fractions of every class as the best of
/// many random orders comes.
pub(super) fn by_group(
    samples: &[Sample],
    positions: &[usize],
    classes: usize,
    fractions: &[f64],
    key: impl Fn(&Sample) -> &str,
    rng: &mut impl Rng,
) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for &position in positions {
        let sample = &samples[position];
        let group = groups
            .entry(key(sample))
            .or_insert_with(|| Group { members: Vec::new(), counts: vec![0; classes] });
        group.members.push(position);
        group.counts[sample.label] += 1;
    }
    let groups: Vec<Group> = groups.into_values().collect();
    let mut targets = vec![vec![0.0; classes]; fractions.len()];
    for group in &groups {
        for (target, fraction) in targets.iter_mut().zip(fractions) {
            for (target, &count) in target.iter_mut().zip(&group.counts) {
                *target += fraction * count as f64;
            }
        }
    }
    let mut order: Vec<usize> = (0..groups.len()).collect();
    let mut best: Option<(f64, Vec<usize>)> = None;
    for _ in 0..TRIES {
        order.shuffle(rng);
        let sides = fill(&groups, &order, &targets);
        let miss = missed(&groups, &sides, &targets);
        if best.as_ref().is_none_or(|(least, _)| miss < *least) {
            best = Some((miss, sides));
        }
    }
    let mut result = vec![Vec::new(); fractions.len()];
    for (group, side) in groups.iter().zip(best.map_or(Vec::new(), |(_, sides)| sides)) {
        result[side].extend_from_slice(&group.members);
    }
    result
}

/// Fills the last sides first, each with groups until the next one would bring it further from its target;
/// what is left is the first side's.
fn fill(groups: &[Group], order: &[usize], targets: &[Vec<f64>]) -> Vec<usize> {
    let mut sides = vec![0; groups.len()];
    for side in (1..targets.len()).rev() {
        let mut filled = vec![0.0; targets[side].len()];
        for &g in order {
            if sides[g] != 0 {
                continue;
            }
            let counts = &groups[g].counts;
            let (class, _) =
                counts.iter().enumerate().max_by_key(|&(c, n)| (*n, usize::MAX - c)).unwrap_or((0, &0));
            let gap = targets[side][class] - filled[class];
            if filled[class] == 0.0 || gap >= counts[class] as f64 / 2.0 {
                sides[g] = side;
                for (filled, &count) in filled.iter_mut().zip(counts) {
                    *filled += count as f64;
                }
            }
        }
    }
    sides
}

/// Images too many or too few, over all sides and classes; a class missing from a side outweighs all of it.
fn missed(groups: &[Group], sides: &[usize], targets: &[Vec<f64>]) -> f64 {
    let mut counts: Vec<Vec<f64>> = targets.iter().map(|t| vec![0.0; t.len()]).collect();
    for (group, &side) in groups.iter().zip(sides) {
        for (count, &n) in counts[side].iter_mut().zip(&group.counts) {
            *count += n as f64;
        }
    }
    let pairs = counts.iter().flatten().zip(targets.iter().flatten());
    pairs.map(|(&n, &target)| (n - target).abs() + if n == 0.0 && target > 0.0 { 1e9 } else { 0.0 }).sum()
}
