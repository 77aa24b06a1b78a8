//! Where a check looks, of all budgets and images.

use super::access::is_iterative;
use crate::evaluate::result::{AttackResult, EvaluationResult, UnderAttack};
use crate::pixels::Budget;

/// The budget that leaves nearest to half of the images that were right: at the ends there is nothing to gain.
pub(super) fn tightest(sweep: &[UnderAttack], right: usize) -> Option<usize> {
    (0..sweep.len())
        .filter(|&b| !sweep[b].budget.is_zero())
        .min_by_key(|&b| (2 * sweep[b].metrics.accuracy.hits).abs_diff(right))
}

/// An attack within a budget, and the check images that it left there.
pub(super) struct Standing<'r> {
    /// Its place among the attacks.
    pub(super) attack: usize,
    pub(super) result: &'r AttackResult,
    pub(super) budget: Budget,
    pub(super) positions: Vec<usize>,
}

impl<'r> Standing<'r> {
    /// Of every attack of this kind that takes a budget.
    pub(super) fn of(
        result: &'r EvaluationResult,
        attacked: &[usize],
        kind: fn(&AttackResult) -> bool,
    ) -> Vec<Self> {
        let attacks = result.attacks.iter().enumerate();
        let bounded =
            attacks.filter(|(_, a)| kind(a) && a.profile.budget().is_some() && !attacked.is_empty());
        let standing = bounded.filter_map(|(attack, found)| {
            let at = tightest(&found.sweep, result.clean.metrics.accuracy.hits)?;
            let left = |p: &usize| {
                let image = &result.records[*p];
                let record = image.attacks[attack].at[at];
                record.distances.is_some() && record.outcome.is(image.label)
            };
            let positions = attacked.iter().copied().filter(left).collect();
            Some(Self { attack, result: found, budget: found.sweep[at].budget, positions })
        });
        standing.collect()
    }

    /// Of every white box of several steps.
    pub(super) fn of_iterative(result: &'r EvaluationResult, attacked: &[usize]) -> Vec<Self> {
        Self::of(result, attacked, is_iterative)
    }

    /// For example `PGD at epsilon 8/255`.
    pub(super) fn name(&self) -> String {
        format!("{} at epsilon {}", self.result.label, self.budget.shown())
    }
}
