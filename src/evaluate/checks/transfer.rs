//! Attacks on another network that do not carry over.

use super::access::is_iterative;
use super::tightest::Standing;
use crate::attack::Access;
use crate::evaluate::EvaluationError;
use crate::evaluate::result::{About, AttackResult, Check, EvaluationResult};
use crate::evaluate::run::{Engine, Targets};

const ABOUT: About = About {
    name: "transfer failure",
    matters: "An attack that fools the network on which it was crafted and not the classifier has shown nothing of the \
              classifier but that it differs. Attack the classifier itself, through a backward pass of its own if it \
              has no gradients (BPDA).",
    source: "Pintor et al., Indicators of attack failure, NeurIPS 2022, section 3, transfer failure",
};

/// Images that fool the substitute and not the classifier, unless a white box of several steps attacks the classifier
/// itself with the same budget.
pub(super) fn check(
    engine: &mut Engine<'_, '_>,
    result: &EvaluationResult,
    attacked: &[usize],
) -> Result<Check, EvaluationError> {
    let is_transfer = |attack: &AttackResult| attack.profile.access == Access::Substitute;
    let mut seen = Vec::new();
    let mut suspicious = false;
    for standing in Standing::of(result, attacked, is_transfer) {
        let run = format!("on substitute {}", standing.attack);
        let fooled =
            engine.noted(&run, &standing.positions, |engine, targets| fooled(engine, &standing, targets))?;
        let Some(fooled) = fooled.into_iter().collect::<Option<Vec<bool>>>() else { continue };
        let failures = fooled.iter().filter(|fooled| **fooled).count();
        let mut itself = result.attacks.iter().filter(|attack| is_iterative(attack));
        let itself = itself.find(|attack| attack.budgets().any(|budget| budget == standing.budget));
        let besides = itself.map_or("no white box of several steps".into(), |attack| attack.label.clone());
        suspicious |= failures > 0 && itself.is_none();
        seen.push(format!(
            "{}: {failures} of {} images fool the substitute and not the classifier, which {besides} attacks itself",
            standing.name(),
            attacked.len()
        ));
    }
    if seen.is_empty() {
        return Ok(ABOUT.not_applicable(
            "it needs check images that are right and an attack on a substitute within a budget",
        ));
    }
    Ok(ABOUT.check(suspicious, seen.join("; ")))
}

/// Whether the substitute falls to what the attack makes of these images; `None` if the attack does not show it.
fn fooled(
    engine: &Engine<'_, '_>,
    standing: &Standing<'_>,
    targets: &Targets,
) -> Result<Vec<Option<bool>>, EvaluationError> {
    let attack = engine.plan.attacks[standing.attack].attack.at(standing.budget);
    let result = attack.perturb(engine.victim, targets.images.clone(), &targets.goal);
    let result = result.map_err(|error| engine.passes.ended(&standing.result.label, error))?;
    let logits = attack.substitute_logits(targets.crafted(result, Some(standing.budget))?.images);
    let reached = logits.map(|logits| targets.goal.reached(logits));
    Ok(match reached {
        Some(reached) => reached.into_iter().map(Some).collect(),
        None => vec![None; targets.goal.classes().len()],
    })
}
