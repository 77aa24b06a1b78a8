//! What became of one defense.

use histoguard::defense::smoothing::CertifiedCurve;
use histoguard::evaluate::{AttackView, EvaluationResult, Slide, UnderAttack};
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
    /// Under each attack that no norm bounds.
    pub semantic: Vec<Semantic>,
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
    /// Under the attack that goes through the defense.
    pub adaptive: Option<Proportion>,
    /// Under attacks that see its answers alone.
    pub black_box: Option<Proportion>,
    /// In the worst case of all attacks, those that know the defense among them.
    pub worst: Option<Proportion>,
    /// Proven against every attack.
    pub certified: Option<Proportion>,
}

/// Right answers under an attack that no norm bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Semantic {
    pub attack: String,
    pub right: Proportion,
}

impl Row {
    /// Of a classifier that was evaluated.
    pub fn of(defense: String, result: &EvaluationResult, budgets: &[Budget]) -> Self {
        let worst = result.worst_case(Norm::Linf);
        let at = |sweep: &[UnderAttack], budget| {
            sweep.iter().find(|under| under.budget == budget).map(|under| under.metrics.accuracy)
        };
        let right = |view: &AttackView| view.accuracy;
        let under = |&budget: &Budget| {
            let views = result.views.iter().find(|views| views.budget == budget.rounded());
            Under {
                budget,
                oblivious: views.map(|views| right(&views.oblivious)),
                adaptive: views.and_then(|views| views.adaptive.as_ref()).map(right),
                black_box: views.and_then(|views| views.black_box.as_ref()).map(right),
                worst: worst.and_then(|worst| at(&worst.sweep, budget)),
                certified: None,
            }
        };
        let semantic = result.semantic.iter();
        let semantic = semantic
            .map(|under| Semantic { attack: under.label.clone(), right: under.metrics.accuracy })
            .collect();
        let first = worst.and_then(|worst| worst.sweep.first());
        let slides = first.map_or(&result.clean.detail.slides, |under| &under.detail.slides);
        let share = |slide: &Slide| slide.score.value.unwrap_or(1.0);
        Self {
            defense,
            clean: result.clean.metrics.accuracy,
            budgets: budgets.iter().map(under).collect(),
            semantic,
            weakest: slides.iter().min_by(|a, b| share(a).total_cmp(&share(b))).cloned(),
            detail: Value::Null,
        }
    }

    /// Fills in what is proven: an L-infinity budget lies within an L2 radius that is longer by the root of the number of
    /// values.
    pub fn prove(&mut self, curve: &CertifiedCurve, values: usize) {
        for under in &mut self.budgets {
            under.certified = Some(curve.at(under.budget.size() * (values as f64).sqrt()));
        }
    }
}
