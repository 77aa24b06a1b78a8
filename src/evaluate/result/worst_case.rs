//! The worst case of several attacks, image by image.

use serde::{Deserialize, Serialize};

use super::attack_result::AttackResult;
use super::outcome::{AttackRecord, ImageRecord};
use super::under_attack::{Summariser, UnderAttack};
use crate::pixels::{Budget, Norm};

/// The worst case of all attacks in one norm: an image is right only if no attack has broken it, with this budget or a
/// smaller one. Of a single attack it is the attack itself, budget by budget.
///
/// It is the robust accuracy to report: an upper bound of the true one, and never above that of any single attack
/// (Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
/// ICML 2020).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorstCase {
    /// The norm of the budgets.
    pub norm: Norm,
    /// Labels of the attacks.
    pub attacks: Vec<String>,
    /// By rising budget; the perturbations are those of the smallest success of each image, or of the attack that came
    /// nearest.
    pub sweep: Vec<UnderAttack>,
}

impl WorstCase {
    /// One of every norm, in the order of the first attack.
    pub(super) fn of_all(attacks: &[AttackResult], summariser: &Summariser<'_>) -> Vec<Self> {
        let mut norms: Vec<Norm> = Vec::new();
        for attack in attacks {
            if !norms.contains(&attack.profile.norm()) {
                norms.push(attack.profile.norm());
            }
        }
        norms.into_iter().map(|norm| Self::of_norm(norm, attacks, summariser)).collect()
    }

    fn of_norm(norm: Norm, attacks: &[AttackResult], summariser: &Summariser<'_>) -> Self {
        let members: Vec<usize> = (0..attacks.len()).filter(|&a| attacks[a].profile.norm() == norm).collect();
        let mut budgets: Vec<Budget> = members.iter().flat_map(|&a| attacks[a].budgets()).collect();
        budgets.sort_by(Budget::total_cmp);
        budgets.dedup();
        // One attack's worst case is the attack itself.
        let alone = members.len() == 1;
        let worst = |image: &ImageRecord, budget: Budget| {
            let all = members.iter().flat_map(|&a| attacks[a].budgets().zip(&image.attacks[a].at));
            let fitting = all.filter(|(b, _)| if alone { *b == budget } else { *b <= budget });
            let ranked = fitting.map(|(_, record)| (rank(record, image.label, norm), record));
            let worst = ranked.min_by(|(a, _), (b, _)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            *worst.expect("an attack with this budget").1
        };
        let sweep = budgets.iter().map(|&budget| summariser.under(budget, |image| worst(image, budget)));
        Self {
            norm,
            attacks: members.iter().map(|&a| attacks[a].label.clone()).collect(),
            sweep: sweep.collect(),
        }
    }
}

/// Fallen images first, by the size of the change; then the others, the least certain one first.
fn rank(record: &AttackRecord, label: usize, norm: Norm) -> (bool, f64) {
    if !record.outcome.is(label) {
        // An image that was not attacked again fell to an attack that has a record of its own.
        return (false, record.size(label, norm));
    }
    let towards = if label == 0 { -1.0 } else { 1.0 };
    (true, record.outcome.score.map_or(0.0, |score| towards * f64::from(score)))
}
