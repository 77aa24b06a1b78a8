//! What an attack says of itself.

use serde::{Deserialize, Serialize};

use super::{Access, Goal, MaskSummary};
use crate::classifier::Queries;
use crate::parameter::Parameter;
use crate::pixels::{Budget, Epsilon, Norm};

/// What an attack says of itself: what reports print, what checks go by, and what the attack is held to.
///
/// What it needs, its steps and its queries are always said: there is no default that would be true of most attacks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The attack's name in reports, as its paper gives it.
    pub name: String,
    /// What it does with an image.
    pub aim: Aim,
    /// The goals that it takes.
    pub goals: Goals,
    /// What it needs from the victim.
    pub access: Access,
    /// Steps of an image, at most; 1 for a one-step attack. `None` if nothing bounds them beforehand.
    pub steps: Option<usize>,
    /// What it asks the victim about an image, at most, in queries. `None` if nothing bounds them beforehand.
    pub queries: Option<Queries>,
    /// The part of the image that it is restricted to; `None` if it may change all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskSummary>,
}

/// What an attack does with an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// As much harm as the budget allows.
    Within(Budget),
    /// The goal with the smallest perturbation in this norm; images that need a larger one than the limit stay as
    /// they are.
    Smallest {
        /// The norm that measures perturbations.
        norm: Norm,
        /// The largest one that counts, in the same norm.
        limit: Option<Budget>,
    },
    /// As much harm as the range of a transformation's parameters allows, such as the colors of a stain: a
    /// semantic perturbation (Hosseini & Poovendran, CVPR workshops 2018; Mohapatra et al., CVPR 2020). No
    /// norm bounds the pixels' change; the range is one of the attack's settings.
    Semantic,
}

/// The goals that an attack takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goals {
    /// Away from the true class, or towards a target.
    Any,
    /// Away from the true class alone.
    Untargeted,
    /// Towards a target alone.
    Targeted,
}

impl Profile {
    /// Of an attack within a budget, with what it needs from the victim, its steps and its queries of an image at most;
    /// it takes any goal.
    pub fn within(
        name: impl Into<String>,
        budget: Budget,
        access: Access,
        steps: impl Into<Option<usize>>,
        queries: impl Into<Option<Queries>>,
    ) -> Self {
        let (name, steps, queries) = (name.into(), steps.into(), queries.into());
        Self { name, aim: Aim::Within(budget), goals: Goals::Any, access, steps, queries, mask: None }
    }

    /// The same of an attack that looks for the smallest perturbation in a norm, within a limit if there is one.
    pub fn smallest(
        name: impl Into<String>,
        (norm, limit): (Norm, Option<Budget>),
        access: Access,
        steps: impl Into<Option<usize>>,
        queries: impl Into<Option<Queries>>,
    ) -> Self {
        let blank = Budget::new(norm, Epsilon::ZERO);
        Self { aim: Aim::Smallest { norm, limit }, ..Self::within(name, blank, access, steps, queries) }
    }

    /// The same of an attack within a range of a transformation's parameters. Its name says the range where
    /// there may be several.
    pub fn semantic(
        name: impl Into<String>,
        access: Access,
        steps: impl Into<Option<usize>>,
        queries: impl Into<Option<Queries>>,
    ) -> Self {
        let blank = Budget::linf(Epsilon::ZERO);
        Self { aim: Aim::Semantic, ..Self::within(name, blank, access, steps, queries) }
    }

    /// The same, away from the true class alone.
    pub fn untargeted(self) -> Self {
        Self { goals: Goals::Untargeted, ..self }
    }

    /// The same, towards a target alone.
    pub fn targeted(self) -> Self {
        Self { goals: Goals::Targeted, ..self }
    }

    /// The norm of its budget, or the one in which it looks for the smallest perturbation; `None` if the
    /// attack is [semantic](Aim::Semantic).
    pub fn norm(&self) -> Option<Norm> {
        match self.aim {
            Aim::Within(budget) => Some(budget.norm()),
            Aim::Smallest { norm, .. } => Some(norm),
            Aim::Semantic => None,
        }
    }

    /// Whether a range of a transformation's parameters bounds it, and no norm.
    pub fn is_semantic(&self) -> bool {
        self.aim == Aim::Semantic
    }

    /// The bound on a perturbation; `None` if the smallest one is looked for without a limit, or if no norm
    /// bounds it.
    pub fn budget(&self) -> Option<Budget> {
        match self.aim {
            Aim::Within(budget) => Some(budget),
            Aim::Smallest { limit, .. } => limit,
            Aim::Semantic => None,
        }
    }

    /// The same with a [rounded](Budget::rounded) budget, which JSON gives back exactly.
    pub(crate) fn rounded(self) -> Self {
        let aim = match self.aim {
            Aim::Within(budget) => Aim::Within(budget.rounded()),
            Aim::Smallest { norm, limit } => Aim::Smallest { norm, limit: limit.map(Budget::rounded) },
            Aim::Semantic => Aim::Semantic,
        };
        Self { aim, ..self }
    }

    /// An attack of this profile beside attacks that [ask](Access::asks) the victim: a wrapper that changes what the
    /// victim answers changes nothing for others.
    pub fn asks(&self, parameter: &'static str) -> Parameter {
        let found = format!("{} ({})", self.name, self.access);
        Parameter::new(parameter, "one that asks the victim", self.access.asks(), found)
    }

    /// What every attack's parameters must keep to.
    pub(super) fn parameters(&self, goal: &Goal) -> Vec<Parameter> {
        let said = |targeted: bool| if targeted { "a targeted one" } else { "an untargeted one" };
        let expected = self.goals == Goals::Targeted;
        let fits = self.goals == Goals::Any || goal.is_targeted() == expected;
        let mut parameters = vec![Parameter::new("goal", said(expected), fits, said(goal.is_targeted()))];
        match self.aim {
            Aim::Within(budget) => parameters.push(budget.parameter("budget")),
            Aim::Smallest { norm, limit: Some(limit) } => {
                let same = format!("a budget in {norm}");
                let in_norm = Parameter::new("limit", same, limit.norm() == norm, limit);
                parameters.extend([in_norm, limit.parameter("limit")]);
            }
            Aim::Smallest { limit: None, .. } | Aim::Semantic => {}
        }
        parameters
    }
}

/// The norm of a budget or search beside those that the attack knows.
pub fn norm_among(norm: Norm, known: &[Norm]) -> Parameter {
    let names: Vec<String> = known.iter().map(Norm::to_string).collect();
    let range = match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "none".into(),
    };
    Parameter::new("norm", range, known.contains(&norm), norm)
}

/// A number of other classes, beside how many a victim has.
pub(super) fn targets_among(classes: usize, targets: usize) -> Parameter {
    let fits = (1..classes).contains(&targets);
    Parameter::new("targets", "from 1 to one less than the classes", fits, targets)
}
