//! The worst case of several attacks, image by image.

use serde::{Deserialize, Serialize};

use super::attack_result::AttackResult;
use super::outcome::{AttackRecord, ImageRecord, Outcome};
use super::under_attack::{Summariser, UnderAttack};
use crate::pixels::{Budget, Norm};

/// The worst case of all attacks in one norm: an image is right only if no attack has broken it, with this
/// budget or a smaller one. Of a single attack it is the attack itself, budget by budget.
///
/// It is the robust accuracy to report: an upper bound of the true one, and never above that of any single
/// attack (Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
/// parameter-free attacks", ICML 2020).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorstCase {
    /// The norm of the budgets.
    pub norm: Norm,
    /// Labels of the attacks.
    pub attacks: Vec<String>,
    /// By rising budget; the perturbations are those of the smallest success of each image, or of the attack
    /// that came nearest. In 8 bits, too, an image is right only if every attack's image still is once it is
    /// rounded.
    pub sweep: Vec<UnderAttack>,
}

impl WorstCase {
    /// One of every norm, in the order of the first attack.
    pub(super) fn of_all(attacks: &[AttackResult], summariser: &Summariser<'_>) -> Vec<Self> {
        let mut norms: Vec<Norm> = Vec::new();
        for norm in attacks.iter().filter_map(|attack| attack.profile.norm()) {
            if !norms.contains(&norm) {
                norms.push(norm);
            }
        }
        norms.into_iter().map(|norm| Self::of_norm(norm, attacks, summariser)).collect()
    }

    fn of_norm(norm: Norm, attacks: &[AttackResult], summariser: &Summariser<'_>) -> Self {
        let members: Vec<usize> =
            (0..attacks.len()).filter(|&a| attacks[a].profile.norm() == Some(norm)).collect();
        let mut budgets: Vec<Budget> = members.iter().flat_map(|&a| attacks[a].budgets()).collect();
        budgets.sort_by(Budget::total_cmp);
        budgets.dedup();
        // One attack's worst case is the attack itself.
        let alone = members.len() == 1;
        let worst = |image: &ImageRecord, budget: Budget| {
            let all = members.iter().flat_map(|&a| attacks[a].budgets().zip(&image.attacks[a].at));
            let fitting = all.filter(|(b, _)| if alone { *b == budget } else { *b <= budget });
            let records: Vec<&AttackRecord> = fitting.map(|(_, record)| record).collect();
            let worst = worst_of(&records, |r| r.outcome, image.label, norm);
            // What is the worst as floats may be none once it is rounded.
            let eight_bit = worst_of(&records, |r| r.eight_bit, image.label, norm).eight_bit;
            AttackRecord { eight_bit, ..*worst }
        };
        let sweep = budgets.iter().map(|&budget| summariser.under(budget, |image| worst(image, budget)));
        Self {
            norm,
            attacks: members.iter().map(|&a| attacks[a].label.clone()).collect(),
            sweep: sweep.collect(),
        }
    }
}

/// The record with the worst of these outcomes for an image of this class: of those that are wrong the one
/// with the smallest change, else the least certain one.
fn worst_of<'r>(
    records: &[&'r AttackRecord],
    outcome: impl Fn(&AttackRecord) -> Outcome,
    label: usize,
    norm: Norm,
) -> &'r AttackRecord {
    let rank = |record: &AttackRecord| {
        let outcome = outcome(record);
        if !outcome.is(label) {
            // An image that was not attacked again fell to an attack that has a record of its own.
            return (false, record.distances.map_or(f64::INFINITY, |distances| distances.in_norm(norm)));
        }
        let towards = if label == 0 { -1.0 } else { 1.0 };
        (true, outcome.score.map_or(0.0, |score| towards * f64::from(score)))
    };
    let ranked = records.iter().map(|&record| (rank(record), record));
    let worst = ranked.min_by(|(a, _), (b, _)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    worst.expect("an attack with this budget").1
}
