//! Budgets that do not do what budgets must.

use super::Check;
use super::check::About;
use crate::evaluate::Battery;
use crate::evaluate::budget::shown;

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
pub(super) fn rising(battery: &Battery) -> Check {
    let mut seen: Vec<String> = Vec::new();
    let mut compared = 0;
    for attack in &battery.attacks {
        compared += attack.sweep.len().saturating_sub(1);
        let right = |at: usize| attack.sweep[at].under.metrics.accuracy.hits;
        let rise = (1..attack.sweep.len()).filter(|&at| right(at) > right(at - 1));
        // The largest rise of each attack, the first one of several.
        if let Some(at) = rise.min_by_key(|&at| (std::cmp::Reverse(right(at) - right(at - 1)), at)) {
            let epsilon = |at: usize| shown(attack.norm, attack.sweep[at].under.epsilon);
            seen.push(format!(
                "{}: {} images are right at epsilon {}, and {} at {}",
                attack.label,
                right(at - 1),
                epsilon(at - 1),
                right(at),
                epsilon(at)
            ));
        }
    }
    match (compared, seen.is_empty()) {
        (0, _) => RISING.not_applicable("it needs an attack at two budgets"),
        (_, true) => RISING.check(false, format!("no rise over {compared} steps of epsilon")),
        (_, false) => RISING.check(true, seen.join("; ")),
    }
}

/// One image and whether each unbounded attack left it right.
pub(super) struct Survivors {
    pub(super) attacks: Vec<String>,
    pub(super) images: usize,
    /// Images that every attack left right.
    pub(super) left: usize,
}

/// Images that no unbounded attack of several steps broke; `None` if none ran.
pub(super) fn unbounded(survivors: Option<Survivors>) -> Check {
    match survivors {
        None => UNBOUNDED
            .not_applicable("it needs check images that are right and a white-box attack of several steps"),
        Some(Survivors { attacks, images, left }) => {
            let attacks = attacks.join(", ");
            let seen = format!(
                "{left} of {images} images survive {attacks} with the whole of [0,1] as their budget"
            );
            UNBOUNDED.check(left > 0, seen)
        }
    }
}
