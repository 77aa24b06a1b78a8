//! The worst case of several attacks, image by image.

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::{AtEpsilon, AttackRecord};
use crate::attack::Norm;
use crate::pixels::Epsilon;

/// The worst case of all attacks in one norm: an image is right only if no attack has broken it, with this
/// budget or a smaller one.
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
    /// By rising epsilon; the perturbations are those of the smallest success of each image, or of the attack
    /// that came nearest.
    pub sweep: Vec<AtEpsilon>,
}

/// What became of an image at every budget of this norm; one attack's records are its own.
pub(super) fn records(engine: &Engine<'_, '_>, norm: Norm, position: usize) -> Vec<AttackRecord> {
    let members = engine.plan.members(norm);
    let worst = |epsilon: Epsilon| {
        let at = members.iter().flat_map(|&attack| {
            let epsilons = &engine.plan.attacks[attack].epsilons;
            let alone = members.len() == 1;
            let fits = move |e: &Epsilon| if alone { *e == epsilon } else { *e <= epsilon };
            let budgets = epsilons.iter().enumerate().filter(move |(_, e)| fits(e));
            budgets.map(move |(budget, _)| engine.record(attack, budget, position))
        });
        at.min_by(|a, b| {
            let key = |record: &AttackRecord| rank(record, engine.data.label(position), norm);
            let ((a_right, a), (b_right, b)) = (key(a), key(b));
            a_right.cmp(&b_right).then(a.total_cmp(&b))
        })
        .expect("an attack with this budget")
    };
    engine.plan.epsilons(norm).into_iter().map(worst).collect()
}

/// Fallen images first, by the size of the change; then the others, the least certain one first.
fn rank(record: &AttackRecord, label: usize, norm: Norm) -> (bool, f64) {
    if !record.outcome.is(label) {
        // An image that was not attacked again fell to an attack that has a record of its own.
        return (false, record.distances.map_or(f64::INFINITY, |d| d.in_norm(norm)));
    }
    let towards = if label == 0 { -1.0 } else { 1.0 };
    (true, record.outcome.score.map_or(0.0, |score| towards * f64::from(score)))
}
