//! Budgets that do not do what budgets must.

use crate::evaluate::result::{About, Check, EvaluationResult, UnderAttack};

const RISING: About = About {
    name: "accuracy rises with epsilon",
    matters: "Whatever breaks an image with a small budget is allowed with a larger one. If more images survive \
              the larger budget, the attack fails to use it: a single step overshoots, or an iterative one has \
              too small steps or masked gradients. The worst case of all budgets is not affected.",
    source: "Carlini et al. 2019, Perform basic sanity tests; Athalye, Carlini & Wagner, ICML 2018, section 3.1",
};

const UNBOUNDED: About = About {
    name: "survives an unbounded attack",
    matters: "Without a bound every image can be turned into one of another class. If an attack of many steps \
              cannot break an image even then, it does not work on this classifier, and its numbers at small \
              budgets overstate robustness.",
    source: "Carlini et al. 2019, Perform an unbounded attack; Athalye, Carlini & Wagner, ICML 2018, section 3.1",
};

/// Attacks under which more images are right with a larger budget.
pub(super) fn rising(result: &EvaluationResult) -> Check {
    let right = |under: &UnderAttack| under.metrics.accuracy.hits;
    let rise = |pair: &&[UnderAttack]| right(&pair[1]).saturating_sub(right(&pair[0]));
    let mut seen: Vec<String> = Vec::new();
    let mut compared = 0;
    for attack in &result.attacks {
        let pairs = attack.sweep.windows(2);
        compared += pairs.len();
        // The largest rise of each attack, the first one of several.
        if let Some([before, after]) = pairs.rev().max_by_key(rise).filter(|pair| rise(pair) > 0) {
            seen.push(format!(
                "{}: {} images are right at epsilon {}, and {} at {}",
                attack.label,
                right(before),
                before.budget.shown(),
                right(after),
                after.budget.shown()
            ));
        }
    }
    match (compared, seen.is_empty()) {
        (0, _) => RISING.not_applicable("it needs an attack at two budgets"),
        (_, true) => RISING.check(false, format!("no rise over {compared} steps of epsilon")),
        (_, false) => RISING.check(true, seen.join("; ")),
    }
}

/// Images, of so many, that are left by all these attacks of several steps without a bound.
pub(super) fn unbounded(attacks: &[&str], images: usize, left: usize) -> Check {
    if attacks.is_empty() {
        return UNBOUNDED
            .not_applicable("it needs check images that are right and a white-box attack of several steps");
    }
    let attacks = attacks.join(", ");
    let seen = format!("{left} of {images} images survive {attacks} with the whole of [0,1] as their budget");
    UNBOUNDED.check(left > 0, seen)
}
