//! Which attack runs with which budgets, checked before any work.

use serde_json::{Value, json};

use crate::attack::{Aim, Attack, Goals, Profile};
use crate::classifier::{Frozen, Queries};
use crate::data::{LabeledImages, check_labels};
use crate::evaluate::EvaluationError;
use crate::parameter::{self, Parameter};
use crate::pixels::Budget;

/// Every attack with its budgets, and those that no norm bounds apart from them.
pub(crate) struct Plan<'e> {
    pub(crate) attacks: Vec<Planned<'e>>,
    pub(crate) semantic: Vec<Planned<'e>>,
}

/// An attack with its budgets, rising; a semantic one has none.
#[derive(Clone)]
pub(crate) struct Planned<'e> {
    pub(crate) attack: &'e dyn Attack,
    pub(crate) profile: Profile,
    /// The attack's name, told apart from the others'.
    pub(crate) label: String,
    /// Its name in the journal.
    pub(crate) run: String,
    pub(crate) budgets: Vec<Budget>,
}

impl<'e> Plan<'e> {
    /// The attacks with those of the given budgets that are in their norm, or else with their own.
    pub(crate) fn new(attacks: &'e [Box<dyn Attack>], given: &[Budget]) -> Result<Self, EvaluationError> {
        parameter::check(given.iter().map(|budget| budget.parameter("budget")))?;
        let profiles: Vec<Profile> = attacks.iter().map(|attack| attack.profile()).collect();
        let used =
            |budget: &Budget| profiles.is_empty() || profiles.iter().any(|p| p.norm() == Some(budget.norm()));
        let in_a_norm =
            |budget: &Budget| Parameter::new("budget", "one in an attack's norm", used(budget), budget);
        parameter::check(given.iter().map(in_a_norm))?;
        let labels = labels(&profiles);
        let planned = attacks.iter().zip(profiles).zip(labels).enumerate();
        let planned = planned.map(|(position, ((attack, profile), label))| {
            let (away, towards) = ("an attack away from the true class", "one towards a target");
            Parameter::new(label.clone(), away, profile.goals != Goals::Targeted, towards).check()?;
            let of_norm = given.iter().copied().filter(|budget| Some(budget.norm()) == profile.norm());
            let mut budgets: Vec<Budget> = of_norm.collect();
            if budgets.is_empty() {
                budgets.extend(profile.budget());
            }
            for budget in &mut budgets {
                budget.parameter("budget").check()?;
                *budget = budget.rounded();
            }
            budgets.sort_by(Budget::total_cmp);
            budgets.dedup();
            let run = format!("attack {position}");
            Ok(Planned { attack: attack.as_ref(), profile, label, run, budgets })
        });
        let planned = planned.collect::<Result<Vec<Planned<'_>>, EvaluationError>>()?;
        let (semantic, attacks) = planned.into_iter().partition(|planned| planned.profile.is_semantic());
        Ok(Self { attacks, semantic })
    }

    /// The attacks within budgets and after them those without, as they run.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Planned<'e>> {
        self.attacks.iter().chain(&self.semantic)
    }

    /// Whether any attack may change an image.
    pub(crate) fn moves(&self) -> bool {
        self.all().any(|p| p.runs_once() || p.budgets.iter().any(|budget| !budget.is_zero()))
    }

    /// How often every image passes, attacked or not.
    pub(crate) fn passes(&self) -> usize {
        1 + self.all().map(|planned| planned.jobs().len()).sum::<usize>()
    }

    /// What tells this plan from others.
    pub(crate) fn settings(&self) -> Value {
        self.all().map(|p| json!({ "attack": p.attack, "budgets": p.budgets })).collect()
    }
}

impl Planned<'_> {
    /// Whether it looks for the smallest perturbation: run once, and judged with every budget.
    pub(crate) fn searches(&self) -> bool {
        matches!(self.profile.aim, Aim::Smallest { limit: None, .. })
    }

    /// Whether it runs without a budget: a search, or a semantic attack.
    fn runs_once(&self) -> bool {
        self.profile.budget().is_none()
    }

    /// What a pass costs beside a forward pass, as far as that is known before.
    pub(crate) fn cost(&self) -> f64 {
        // DenseNet-121 takes 2.1 times as long for a gradient as for a forward pass (README, speed).
        const GRADIENT: u64 = 2;
        const JUDGED: u64 = 2;
        let queries = self.profile.queries.unwrap_or(Queries::gradients(self.profile.steps.unwrap_or(1)));
        (queries.forwards + GRADIENT * queries.gradients + JUDGED) as f64
    }

    /// The budgets to run with, one after another; a search runs once, without one, and so does a semantic
    /// attack.
    pub(crate) fn jobs(&self) -> Vec<Option<Budget>> {
        if self.runs_once() { vec![None] } else { self.budgets.iter().copied().map(Some).collect() }
    }
}

/// Checks images against the classifiers that are to see them.
pub(crate) fn check_data<'f>(
    data: &dyn LabeledImages,
    victims: impl IntoIterator<Item = &'f Frozen>,
) -> Result<(), EvaluationError> {
    if data.is_empty() {
        return Err(EvaluationError::Empty);
    }
    let expected = data.classes().len();
    check_labels((0..data.len()).map(|p| data.label(p)), expected)?;
    let mut shape = None;
    for victim in victims {
        let found = victim.num_classes();
        if found != expected && found > 1 {
            return Err(EvaluationError::Classes { expected, found });
        }
        let shape = match shape {
            Some(shape) => shape,
            None => {
                let [_, channels, height, width] = data.batch(&[0], victim.device())?.images.dims();
                *shape.insert([channels, height, width])
            }
        };
        victim.check(shape)?;
    }
    Ok(())
}

/// Names that tell the attacks apart: with the norm if there are several, numbered if two are still the same.
fn labels(profiles: &[Profile]) -> Vec<String> {
    let mut norms = profiles.iter().filter_map(Profile::norm);
    let first = norms.next();
    let one_norm = norms.all(|norm| Some(norm) == first);
    let name = |profile: &Profile| match profile.norm() {
        Some(norm) if !one_norm => format!("{} {norm}", profile.name),
        _ => profile.name.clone(),
    };
    let names: Vec<String> = profiles.iter().map(name).collect();
    let told_apart = |(i, name): (usize, &String)| match names[..i].iter().filter(|n| *n == name).count() {
        0 => name.clone(),
        before => format!("{name} ({})", before + 1),
    };
    names.iter().enumerate().map(told_apart).collect()
}
