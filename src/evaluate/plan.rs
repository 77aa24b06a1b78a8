//! Which attack runs with which budgets, checked before any work.

use super::robustness::readable;
use super::{Evaluation, EvaluationError};
use crate::attack::{Attack, Norm};
use crate::data::{DataError, LabeledImages};
use crate::pixels::Epsilon;

/// Every attack with its budgets.
pub(super) struct Plan<'e> {
    pub(super) attacks: Vec<Planned<'e>>,
}

/// An attack with its budgets, rising.
pub(super) struct Planned<'e> {
    pub(super) attack: &'e dyn Attack,
    /// The attack's name, told apart from the others'.
    pub(super) label: String,
    /// Its name in the journal.
    pub(super) run: String,
    pub(super) epsilons: Vec<Epsilon>,
    /// Whether it looks for the smallest perturbation: run once, and judged at every budget.
    pub(super) searches: bool,
}

impl<'e> Plan<'e> {
    /// Checks everything that needs no image.
    pub(super) fn new(
        evaluation: &'e Evaluation<'_>,
        data: &dyn LabeledImages,
    ) -> Result<Self, EvaluationError> {
        let parameter =
            |parameter, expected, found| EvaluationError::Parameter { parameter, expected, found };
        if evaluation.batch_size == 0 {
            return Err(parameter("batch size", "at least 1", "0".into()));
        }
        if evaluation.resamples == 0 {
            return Err(parameter("resamples", "at least 1", "0".into()));
        }
        if data.is_empty() {
            return Err(EvaluationError::Empty);
        }
        let (expected, found) = (data.classes().len(), evaluation.victim.num_classes());
        if expected != found {
            return Err(EvaluationError::Classes { expected, found });
        }
        if let Some(bad) = (0..data.len()).map(|p| data.label(p)).find(|&label| label >= expected) {
            let expected = format!("labels below {expected}, the number of classes");
            return Err(DataError::Labels { expected, found: bad.to_string() }.into());
        }
        let labels = labels(&evaluation.attacks);
        let attacks = evaluation.attacks.iter().zip(labels).enumerate().map(|(position, (attack, label))| {
            let attack = attack.as_ref();
            let given = evaluation.norm_epsilons.iter().rev().find(|(norm, _)| *norm == attack.norm());
            let given = given.map(|(_, epsilons)| epsilons).or(evaluation.epsilons.as_ref()).cloned();
            let (own, searches) = (attack.epsilon(), attack.epsilon().is_none());
            let mut epsilons = given.or(own.map(|own| vec![own])).unwrap_or_default();
            if let Some(bad) = epsilons.iter().find(|e| !e.is_valid()) {
                return Err(parameter("epsilon", "a finite number of at least 0", bad.value().to_string()));
            }
            epsilons.iter_mut().for_each(|e| *e = readable(*e));
            epsilons.sort_by(|a, b| a.value().total_cmp(&b.value()));
            epsilons.dedup();
            Ok(Planned { attack, label, run: format!("attack {position}"), epsilons, searches })
        });
        Ok(Self { attacks: attacks.collect::<Result<_, _>>()? })
    }

    /// The norms in the order of their first attack.
    pub(super) fn norms(&self) -> Vec<Norm> {
        let mut norms: Vec<Norm> = Vec::new();
        for planned in &self.attacks {
            if !norms.contains(&planned.attack.norm()) {
                norms.push(planned.attack.norm());
            }
        }
        norms
    }

    /// The positions of the attacks in this norm.
    pub(super) fn members(&self, norm: Norm) -> Vec<usize> {
        (0..self.attacks.len()).filter(|&a| self.attacks[a].attack.norm() == norm).collect()
    }

    /// The budgets of all attacks in this norm, rising.
    pub(super) fn epsilons(&self, norm: Norm) -> Vec<Epsilon> {
        let members = self.members(norm).into_iter();
        let mut epsilons: Vec<Epsilon> =
            members.flat_map(|a| self.attacks[a].epsilons.iter().copied()).collect();
        epsilons.sort_by(|a, b| a.value().total_cmp(&b.value()));
        epsilons.dedup();
        epsilons
    }

    /// Whether any attack may change an image.
    pub(super) fn moves(&self) -> bool {
        self.attacks.iter().any(|p| p.searches || p.epsilons.iter().any(|&e| e != Epsilon::ZERO))
    }

    /// How often every image passes, attacked or not.
    pub(super) fn passes(&self) -> usize {
        1 + self.attacks.iter().map(|p| if p.searches { 1 } else { p.epsilons.len() }).sum::<usize>()
    }
}

/// Names that tell the attacks apart: with the norm if there are several, numbered if two are still the same.
fn labels(attacks: &[Box<dyn Attack>]) -> Vec<String> {
    let one_norm = attacks.windows(2).all(|pair| pair[0].norm() == pair[1].norm());
    let name = |attack: &dyn Attack| match one_norm {
        true => attack.name().to_string(),
        false => format!("{} {}", attack.name(), attack.norm()),
    };
    let names: Vec<String> = attacks.iter().map(|attack| name(attack.as_ref())).collect();
    let earlier = |position: usize| names[..position].iter().filter(|n| **n == names[position]).count();
    (0..names.len())
        .map(|i| match earlier(i) {
            0 => names[i].clone(),
            before => format!("{} ({})", names[i], before + 1),
        })
        .collect()
}
