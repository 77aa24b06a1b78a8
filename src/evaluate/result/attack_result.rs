//! What one attack did.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::minimal::MinimalPerturbation;
use super::under_attack::{Summariser, UnderAttack};
use crate::attack::Profile;
use crate::classifier::Queries;
use crate::pixels::{Budget, round};

/// One attack with all its budgets, in a norm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackResult {
    /// Its name, told apart from the other attacks'.
    pub label: String,
    /// All its settings.
    pub settings: Value,
    /// What it says of itself.
    pub profile: Profile,
    /// The smallest perturbations that it knows.
    pub minimal: MinimalPerturbation,
    /// Images that it attacked, once a budget; a search attacks once for all budgets.
    pub images: usize,
    /// What it asked the classifier for all of them.
    pub queries: Queries,
    /// By rising budget.
    pub sweep: Vec<UnderAttack>,
}

/// An attack that ran, before its records are summarised.
pub(crate) struct Ran {
    pub(crate) label: String,
    pub(crate) settings: Value,
    pub(crate) profile: Profile,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) cost: Cost,
}

/// What an attack took, over all images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) queries: Queries,
    pub(crate) seconds: f64,
    /// Images times budgets.
    pub(crate) images: usize,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, more: Self) {
        self.queries = self.queries + more.queries;
        self.seconds += more.seconds;
        self.images += more.images;
    }
}

impl AttackResult {
    /// Its budgets, rising.
    pub fn budgets(&self) -> impl Iterator<Item = Budget> {
        self.sweep.iter().map(|under| under.budget)
    }

    /// Under this budget, to 12 significant digits.
    pub fn at(&self, budget: Budget) -> Option<&UnderAttack> {
        self.sweep.iter().find(|under| under.budget == budget.rounded())
    }

    pub(super) fn new(position: usize, ran: Ran, summariser: &Summariser<'_>) -> Self {
        let images = summariser.records.iter().map(|image| (image.label, &image.attacks[position]));
        let under = |(at, &budget): (usize, &Budget)| {
            summariser.under(budget, |image| image.attacks[position].at[at])
        };
        Self {
            minimal: MinimalPerturbation::new(&ran.profile, &ran.budgets, images),
            sweep: ran.budgets.iter().enumerate().map(under).collect(),
            label: ran.label,
            settings: ran.settings,
            profile: ran.profile,
            images: ran.cost.images,
            queries: ran.cost.queries,
        }
    }
}

/// An attack's settings with numbers of at most 12 significant digits, which JSON gives back exactly.
pub(crate) fn readable(settings: Value) -> Value {
    match settings {
        Value::Number(number) if number.is_f64() => number.as_f64().map(round).into(),
        Value::Array(values) => values.into_iter().map(readable).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, readable(value))).collect(),
        other => other,
    }
}
