//! What became of one defense.

use histoguard::evaluate::{EvaluationResult, Slide, UnderAttack};
use histoguard::prelude::*;
use histoguard::statistics::Proportion;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A defense beside the others. A rejected image and an abstention count as errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub defense: String,
    /// Right answers without attack.
    pub clean: Proportion,
    /// Under each budget.
    pub budgets: Vec<Under>,
    /// The slide with the fewest right answers at the smallest budget, with its score.
    pub weakest: Option<Slide>,
    /// What its own kind of defense reports beside.
    pub detail: Value,
}

/// Right answers with one budget; `None` where nothing was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Under {
    pub budget: Budget,
    /// Under the attack that was made for the undefended network.
    pub oblivious: Option<Proportion>,
    /// In the worst case of all attacks, those that know the defense among them.
    pub worst: Option<Proportion>,
    /// Proven against every attack.
    pub certified: Option<Proportion>,
}

impl Row {
    /// Of a classifier that was evaluated; its first attack does not know the defense, if it is a `Transfer`.
    pub fn of(defense: String, result: &EvaluationResult, budgets: &[Budget]) -> Self {
        let worst = result.worst_case(Norm::Linf);
        let at = |sweep: &[UnderAttack], budget| {
            sweep.iter().find(|under| under.budget == budget).map(|under| under.metrics.accuracy)
        };
        let oblivious = result.attacks.iter().find(|attack| attack.profile.access == Access::Substitute);
        let under = |&budget: &Budget| Under {
            budget,
            oblivious: oblivious.and_then(|attack| at(&attack.sweep, budget)),
            worst: worst.and_then(|worst| at(&worst.sweep, budget)),
            certified: None,
        };
        let first = worst.and_then(|worst| worst.sweep.first());
        let slides = first.map_or(&result.clean.detail.slides, |under| &under.detail.slides);
        let share = |slide: &Slide| slide.score.value.unwrap_or(1.0);
        Self {
            defense,
            clean: result.clean.metrics.accuracy,
            budgets: budgets.iter().map(under).collect(),
            weakest: slides.iter().min_by(|a, b| share(a).total_cmp(&share(b))).cloned(),
            detail: Value::Null,
        }
    }
}
